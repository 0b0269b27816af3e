/** One watch of the fake API server: a stream of lines, and what can be wrong with it. */
import type { KubernetesObject } from "../resource.ts";

export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly collection: string;
  readonly object: KubernetesObject;
  readonly version: number;
}

export type StreamFault =
  | "duplicate" // the event twice
  | "stale" // then every older one of the same object again
  | "swap" // after the next event
  | "split" // in many small pieces
  | "cut" // half of it, then the connection is reset
  | "end" // half of it, then the stream ends in order
  | "expired" // an ERROR event with 410 instead
  | "failed" // an ERROR event with 500 instead
  | "garbage" // something else instead
  | "silence"; // nothing from here on, and the connection stays

const ENDS: ReadonlySet<StreamFault> = new Set(["cut", "end", "expired", "failed", "garbage", "silence"]);

const encoder = new TextEncoder();

export class FakeWatcher {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #wants: (event: WatchEvent) => boolean;
  readonly #gone: () => void;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #held: WatchEvent | undefined;
  #silent = false;

  constructor(wants: (event: WatchEvent) => boolean, gone: () => void) {
    this.#wants = wants;
    this.#gone = gone;
    this.stream = new ReadableStream({
      start: (controller) => {
        this.#controller = controller;
        // Servers send headers with the first bytes; an empty line is none to a reader of JSON.
        this.#write("\n");
      },
      cancel: () => this.#close(),
    });
  }

  deliver(event: WatchEvent, fault: StreamFault | undefined, history: readonly WatchEvent[]): void {
    if (!this.#wants(event) || this.#silent) return;
    if (fault === "swap" && this.#held === undefined) this.#held = event;
    else if (fault !== undefined && ENDS.has(fault)) this.#finishWith(fault, lineOf(event));
    else this.#deliver(event, fault, history);
  }

  #deliver(event: WatchEvent, fault: StreamFault | undefined, history: readonly WatchEvent[]): void {
    const line = lineOf(event);
    if (fault === "split") for (const piece of line.match(/[\s\S]{1,40}/g) ?? []) this.#write(piece);
    else this.#write(line);
    if (fault === "duplicate") this.#write(line);
    if (this.#held !== undefined) this.#write(lineOf(this.#held));
    this.#held = undefined;
    if (fault !== "stale") return;
    const { name, namespace } = event.object.metadata;
    for (const older of history) {
      const { metadata } = older.object;
      const same = metadata.name === name && metadata.namespace === namespace;
      if (same && older.collection === event.collection && older.version < event.version) {
        this.#write(lineOf(older));
      }
    }
  }

  #finishWith(fault: StreamFault, line: string): void {
    this.#held = undefined;
    if (fault === "cut" || fault === "end") this.#write(line.slice(0, line.length / 2));
    if (fault === "garbage") this.#write("<html>504 Gateway Timeout</html>\n");
    if (fault === "expired") this.#fail(410, "Expired", "too old resource version");
    if (fault === "failed") this.#fail(500, "InternalError", "etcd: leader changed");
    if (fault === "silence") this.#silent = true;
    else if (fault === "cut") this.cut();
    else this.#finish((controller) => controller.close());
  }

  bookmark(version: number): void {
    if (this.#silent) return;
    if (this.#held !== undefined) this.#write(lineOf(this.#held));
    this.#held = undefined;
    const object = { kind: "Bookmark", metadata: { resourceVersion: String(version) } };
    this.#write(`${JSON.stringify({ type: "BOOKMARK", object })}\n`);
  }

  cut(): void {
    this.#finish((controller) => controller.error(new DOMException("cut by the test", "AbortError")));
  }

  #fail(code: number, reason: string, message: string): void {
    const object = { kind: "Status", status: "Failure", code, reason, message };
    this.#write(`${JSON.stringify({ type: "ERROR", object })}\n`);
  }

  #finish(how: (controller: ReadableStreamDefaultController<Uint8Array>) => void): void {
    const controller = this.#controller;
    this.#close();
    if (controller !== undefined) how(controller);
  }

  #close(): void {
    this.#controller = undefined;
    this.#silent = true;
    this.#gone();
  }

  #write(text: string): void {
    this.#controller?.enqueue(encoder.encode(text));
  }
}

const lineOf = ({ type, object }: WatchEvent): string => `${JSON.stringify({ type, object })}\n`;
