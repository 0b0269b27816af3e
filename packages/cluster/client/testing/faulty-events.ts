/**
 * The events of one watch, line by line, with faults between server and client.
 *
 * An API server gives a watch every change after its version, in order. Whatever is done to a stream here, what a client
 * can build on is kept, so that a client that is right ends up with the server's state:
 *
 * - events of one object keep their order, and what is held back comes before a bookmark and before the stream ends, for
 *   which reason a stream in which anything was held back is not broken but ended, be it in the middle of a line (a client
 *   that leaves by itself at such a moment misses what was held back: no API server puts it to that test);
 * - a dropped event ends the stream: nothing later passes, so that a client that asks again gets it.
 *
 * "swallow" is the exception. No version tells that one is missing (they are not consecutive, and mean nothing to a
 * client), so that nothing of the stream shows it: only the next list does.
 */
export type EventFault =
  /** It comes twice. */
  | "duplicate"
  /** An earlier event comes once more before it. */
  | "repeat"
  /** It comes after later ones of other objects. */
  | "hold"
  /** It does not come, and the stream ends. */
  | "drop"
  /** The connection breaks in the middle of it. */
  | "cut"
  /** The stream ends before it, as one that is over. */
  | "end"
  /** The server says that the version is too old (410), and ends the stream. */
  | "gone"
  /** It does not come, and the stream goes on: no API server does it. */
  | "swallow";

export interface EventSink {
  write(text: string): void;
  /** The stream is over; what was written arrives. */
  end(): void;
  /** The connection breaks after what was written. */
  cut(): void;
}

/** Milliseconds that an event is held back at most. */
const LONGEST_HELD = 50;
/** Events that may be repeated later. */
const REMEMBERED = 8;

const GONE = {
  type: "ERROR",
  object: {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message: "too old resource version (injected)",
    reason: "Expired",
    code: 410,
  },
};

export class FaultyEvents {
  readonly #sink: EventSink;
  readonly #roll: () => number;
  readonly #choose: (roll: number) => EventFault | undefined;
  #held: { readonly key: string; readonly line: string; left: number }[] = [];
  readonly #earlier: string[] = [];
  #timer: Timer | undefined;
  /** Later events have come before earlier ones: were these lost now, nobody would ask for them again. */
  #reordered = false;
  #over = false;

  /** `choose` says what is done to an event, given a roll of the dice. */
  constructor(sink: EventSink, roll: () => number, choose: (roll: number) => EventFault | undefined) {
    this.#sink = sink;
    this.#roll = roll;
    this.#choose = choose;
  }

  get over(): boolean {
    return this.#over;
  }

  /** A line without its newline. */
  push(line: string): void {
    if (this.#over || line.trim() === "") return;
    const { type, key } = eventOf(line);
    if (type === "BOOKMARK" || type === "ERROR") {
      this.flush();
      this.#sink.write(`${line}\n`);
      return;
    }
    const fault = this.#choose(this.#roll());
    if (fault === "swallow") return;
    if (fault === "hold") this.#hold(key, line);
    else if (fault === "drop" || fault === "end") this.end();
    else if (fault === "cut") this.cut(line.slice(0, Math.floor(this.#roll() * line.length)));
    else if (fault === "gone") {
      this.flush();
      this.#sink.write(`${JSON.stringify(GONE)}\n`);
      this.end();
    } else {
      const earlier = this.#earlier[Math.floor(this.#roll() * this.#earlier.length)];
      if (fault === "repeat" && earlier !== undefined) this.#write(earlier);
      this.#pass(key, line);
      if (fault === "duplicate") this.#write(line);
    }
  }

  #hold(key: string, line: string): void {
    this.#reordered = true;
    const before = this.#held.filter((held) => held.key === key).map(({ left }) => left);
    this.#held.push({ key, line, left: Math.max(1 + Math.floor(this.#roll() * 4), ...before) });
    this.#timer ??= setTimeout(() => this.flush(), LONGEST_HELD);
  }

  /** Sends what is held back. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const held = this.#held;
    this.#held = [];
    for (const { line } of held) this.#write(line);
  }

  end(): void {
    if (this.#over) return;
    this.flush();
    this.#over = true;
    this.#sink.end();
  }

  /** Breaks the connection, after the beginning of a line. */
  cut(beginning = ""): void {
    if (this.#over) return;
    this.flush();
    this.#over = true;
    if (beginning !== "") this.#sink.write(beginning);
    if (this.#reordered) this.#sink.end();
    else this.#sink.cut();
  }

  #pass(key: string, line: string): void {
    // Of the same object nothing overtakes.
    this.#release((held) => held.key === key);
    this.#write(line);
    for (const held of this.#held) held.left--;
    this.#release((held) => held.left <= 0);
  }

  #release(due: (held: { readonly key: string; readonly left: number }) => boolean): void {
    const now = this.#held.filter(due);
    this.#held = this.#held.filter((held) => !now.includes(held));
    for (const { line } of now) this.#write(line);
  }

  #write(line: string): void {
    this.#sink.write(`${line}\n`);
    this.#earlier.push(line);
    if (this.#earlier.length > REMEMBERED) this.#earlier.shift();
  }
}

function eventOf(line: string): { type: string; key: string } {
  const { type, object } = JSON.parse(line) as {
    type: string;
    object?: { metadata?: { namespace?: string; name?: string } };
  };
  return { type, key: `${object?.metadata?.namespace ?? ""}/${object?.metadata?.name ?? ""}` };
}
