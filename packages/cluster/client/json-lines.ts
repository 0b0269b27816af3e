/**
 * A stream of JSON values, one a line, as watches send them. Bytes come in pieces of any size; a line counts
 * once its newline is there, so that a connection cut in the middle of one loses that one and nothing else.
 */
import { describeError, WeftError } from "@weft/base";

const NEWLINE = 0x0a;

/** More than any object can have: etcd refuses requests above 1.5 MiB by default, and JSON is larger than protobuf. */
export const MAX_LINE = 16 * 1024 * 1024;

export class JsonLines {
  readonly #most: number;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true });
  #pieces: Uint8Array[] = [];
  #length = 0;

  /** `most`: bytes that a line may have. */
  constructor(most = MAX_LINE) {
    this.#most = most;
  }

  /** Bytes of a line that is not complete yet. */
  get pending(): number {
    return this.#length;
  }

  /** The values of the lines that these bytes complete, in order. Throws "invalid"; then it is of no more use. */
  *push(bytes: Uint8Array): Generator<unknown, void> {
    let start = 0;
    for (;;) {
      const end = bytes.indexOf(NEWLINE, start);
      if (end < 0) break;
      this.#keep(bytes.subarray(start, end));
      start = end + 1;
      const line = this.#take();
      if (line.trim() !== "") yield parse(line);
    }
    // A copy: what the caller's piece belongs to may be far larger than what is left of it.
    if (start < bytes.length) this.#keep(bytes.slice(start));
  }

  #keep(piece: Uint8Array): void {
    this.#length += piece.length;
    if (this.#length > this.#most) {
      throw new WeftError("invalid", `a line of more than ${this.#most} bytes`, {
        hint: "No object can be that large: check what the server sends.",
      });
    }
    this.#pieces.push(piece);
  }

  #take(): string {
    const [only] = this.#pieces;
    const line = this.#pieces.length === 1 && only !== undefined ? only : Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#length = 0;
    try {
      return this.#decoder.decode(line);
    } catch (cause) {
      throw new WeftError("invalid", "a line is not UTF-8", { cause });
    }
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    const shown = line.length > 80 ? `${line.slice(0, 80)}...` : line;
    throw new WeftError("invalid", `a line is no JSON: ${describeError(error)}: ${shown}`);
  }
}
