/** The probes of one run of a container: asked at their times, their answers counted. */
import type { Clock } from "@weft/base";
import type { Container } from "../controllers/objects.ts";
import type { ProbeAnswer } from "./probe-run.ts";
import { type ProbeKind, type ProbeState, probed, probeOf, UNKNOWN } from "./probe-state.ts";
import { pause } from "./wait.ts";

export interface ProberOptions {
  readonly container: Container;
  readonly clock: Clock;
  readonly run: (kind: ProbeKind, timeoutMs: number) => Promise<ProbeAnswer>;
  /** Something that counts has changed. */
  readonly changed: () => void;
  /** A probe has failed once. */
  readonly failed: (kind: ProbeKind, message: string) => void;
  /** Startup or liveness has failed for good: the container is to be ended. */
  readonly dead: (kind: ProbeKind) => void;
}

export class Prober {
  readonly #o: ProberOptions;
  readonly #stopping = new AbortController();
  readonly #states = new Map<ProbeKind, ProbeState>();

  constructor(options: ProberOptions) {
    this.#o = options;
  }

  /** True once the startup probe has succeeded, or when there is none. */
  get started(): boolean {
    return this.#passes("startup");
  }
  get ready(): boolean {
    return this.started && this.#passes("readiness");
  }

  start(): void {
    void this.#run();
  }
  stop(): void {
    this.#stopping.abort();
  }

  #passes(kind: ProbeKind): boolean {
    return probeOf(this.#o.container, kind) === undefined || this.#states.get(kind)?.result === true;
  }

  async #run(): Promise<void> {
    await this.#ask("startup");
    await Promise.all([this.#ask("readiness"), this.#ask("liveness")]);
  }

  /** A startup probe until it has an outcome, others until they are stopped. */
  async #ask(kind: ProbeKind): Promise<void> {
    const { container, clock, run, changed, failed, dead } = this.#o;
    const probe = probeOf(container, kind);
    if (probe === undefined) return;
    const { signal } = this.#stopping;
    const { initialDelaySeconds = 0, periodSeconds = 10, timeoutSeconds = 1 } = probe;
    if (initialDelaySeconds > 0 && !(await pause(clock, initialDelaySeconds * 1000, signal))) return;
    while (!signal.aborted) {
      const { ok, message } = await run(kind, Math.max(1, timeoutSeconds) * 1000);
      if (signal.aborted) return;
      const before = this.#states.get(kind) ?? UNKNOWN;
      const after = probed(before, kind, probe, ok);
      this.#states.set(kind, after);
      if (!ok) failed(kind, message);
      if (before.result !== after.result) changed();
      if (kind !== "readiness" && after.result === false) {
        dead(kind);
        return;
      }
      if (kind === "startup" && after.result === true) return;
      if (!(await pause(clock, Math.max(1, periodSeconds) * 1000, signal))) return;
    }
  }
}
