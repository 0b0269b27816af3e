/** What a test sees of the calls made to the in-memory kernel, and makes of them. */
import type { Conntrack, Kernel, NetworkNamespace, Nftables } from "../port.ts";

/** Name of a method of the port. */
export type Operation =
  | keyof NetworkNamespace
  | keyof Nftables
  | keyof Conntrack
  | Extract<keyof Kernel, "open" | "watch">;

export interface Write {
  /** Path that the namespace was opened by. */
  readonly namespace: string;
  readonly op: string;
  readonly args: readonly unknown[];
}

export class Recorder {
  /** Calls that could change something, failed ones too, since the last clear(). */
  readonly writes: Write[] = [];
  readonly #failures = new Map<string, Error[]>();

  failNext(op: Operation, error: Error): void {
    const queue = this.#failures.get(op) ?? [];
    queue.push(error);
    this.#failures.set(op, queue);
  }

  write(write: Write): void {
    this.writes.push(write);
    this.failIfTold(write.op);
  }

  failIfTold(op: string): void {
    const error = this.#failures.get(op)?.shift();
    if (error !== undefined) throw error;
  }
}
