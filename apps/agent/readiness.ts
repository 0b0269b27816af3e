/** Waiting for the first context, the first comparison with the kernel, and a block of pools; says what is missing. */
import { CniError, OWN_CODE } from "@weft/cni";
import type { Problem } from "@weft/model";

/** How long an ADD waits for an agent that is starting. */
const DEADLINE_MS = 30_000;
const LOOK_MS = 50;

export class Readiness {
  /** What stands in the way of a context, if that is known. */
  readonly #problem: () => Problem | undefined;
  /** Where the cluster's state is read from, and why it does not come. */
  readonly #source: () => string;
  /** What pools of addresses wait for. */
  readonly #pools: () => string | undefined;
  #state: "no-context" | "comparing" | "no-block" | "ready" = "no-context";
  #onContext: (() => void) | undefined;
  readonly #done = Promise.withResolvers<void>();

  constructor(problem: () => Problem | undefined, source: () => string, pools: () => string | undefined) {
    this.#problem = problem;
    this.#source = source;
    this.#pools = pools;
  }

  /** `run` is called once, when the first context is known. */
  onContext(run: () => void): void {
    this.#onContext = run;
  }

  contextKnown(): void {
    if (this.#state !== "no-context") return;
    this.#state = "comparing";
    this.#onContext?.();
  }

  compared(): void {
    this.#state = "no-block";
  }

  begun(): void {
    this.#state = "ready";
    this.#done.resolve();
  }

  get hasContext(): boolean {
    return this.#state !== "no-context";
  }

  /** ADDs are served. */
  get ready(): boolean {
    return this.#state === "ready";
  }

  /** Undefined when ADDs are served. */
  get waitingFor(): string | undefined {
    if (this.#state === "ready") return undefined;
    if (this.#state === "comparing") return "the first comparison with the kernel is running";
    if (this.#state === "no-block") return this.#pools() ?? "addresses of pools are there in a moment";
    const problem = this.#problem();
    return problem === undefined
      ? `the cluster's state is being read (${this.#source() || "not asked for yet"})`
      : `${problem.message}. ${problem.hint}`;
  }

  /**
   * Resolves when ADDs are served. Throws CniError 107 with the reason: at once when it is one that waiting does
   * not cure, else after 30 seconds.
   */
  async wait(): Promise<void> {
    const end = performance.now() + DEADLINE_MS;
    while (this.#state !== "ready") {
      const hopeless = this.#state === "no-context" && this.#problem() !== undefined;
      if (hopeless || performance.now() > end) {
        throw new CniError(OWN_CODE.nodeNotReady, `the node is not ready: ${this.waitingFor}`, {
          hint: "See `weft status`.",
        });
      }
      await Promise.race([this.#done.promise, Bun.sleep(LOOK_MS)]);
    }
  }
}
