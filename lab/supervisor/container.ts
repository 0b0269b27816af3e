/** One container: its process as often as its pod's restart policy has it, and its probes. */
import type { Clock } from "@weft/base";
import type { Container } from "../controllers/objects.ts";
import type { ContainerCommand } from "../images.ts";
import { listensOn } from "../processes.ts";
import type { ContainerStatus } from "../status.ts";
import { type End, KeepRunning } from "./keep-running.ts";
import { type ProbePlace, runProbe } from "./probe-run.ts";
import { type ProbeKind, probeOf } from "./probe-state.ts";
import { Prober } from "./prober.ts";
import { pause } from "./wait.ts";

export type RestartPolicy = "Always" | "OnFailure" | "Never";

export interface ContainerOptions {
  readonly container: Container;
  readonly command: ContainerCommand;
  readonly policy: RestartPolicy;
  /** Milliseconds between SIGTERM and SIGKILL when a probe ends it. */
  readonly graceMs: number;
  readonly namespace: { readonly fd: number };
  readonly place: ProbePlace;
  readonly log: string;
  readonly clock: Clock;
  readonly changed: () => void;
  readonly event: (type: "Normal" | "Warning", reason: string, note: string) => void;
}

const LISTENS_EVERY_MS = 20;
const TITLES: Readonly<Record<ProbeKind, string>> = {
  startup: "Startup",
  readiness: "Readiness",
  liveness: "Liveness",
};

export class RunningContainer {
  readonly process: KeepRunning;
  readonly #o: ContainerOptions;
  #pid: number | undefined;
  #prober: Prober | undefined;
  /** Built-in workloads are ready once they listen: they have no other way to say so. */
  #listening = new AbortController();
  #listens = false;
  #stopped = false;

  constructor(options: ContainerOptions) {
    this.#o = options;
    const { command, namespace, log, clock, policy } = options;
    this.process = new KeepRunning(
      { argv: command.argv, environment: command.environment, namespace, log },
      {
        clock,
        changed: () => this.#changed(),
        again: ({ exitCode }) => policy === "Always" || (policy === "OnFailure" && exitCode !== 0),
      },
    );
  }

  get name(): string {
    return this.#o.container.name;
  }
  get image(): string {
    return this.#o.container.image;
  }
  /** How it ended for good; undefined while it runs or will run again. */
  get over(): End | undefined {
    const { process: running, waits, lastEnd } = this.process;
    return running === undefined && !waits ? lastEnd : undefined;
  }
  get started(): boolean {
    return this.#pid !== undefined && this.#listens && (this.#prober?.started ?? false);
  }
  get ready(): boolean {
    return this.started && (this.#prober?.ready ?? false);
  }
  /** Why it does not run, in a sentence; undefined when it does, or has ended as it should. */
  get fault(): string | undefined {
    if (this.process.process !== undefined || this.over?.exitCode === 0) return undefined;
    const { startError, lastExit } = this.process;
    if (startError === undefined && lastExit === undefined) return undefined;
    const next = this.over === undefined ? ", and is started again" : "";
    return `container ${this.name}: ${startError ?? `ended with ${lastExit}${next}`}`;
  }

  start(): void {
    this.process.start();
  }

  /** It stays ready for as long as it runs and says so: what is ending may still serve. */
  async stop(graceMs: number): Promise<void> {
    this.#stopped = true;
    await this.process.stop(graceMs);
    this.#endProbes();
  }

  status(): ContainerStatus {
    const { process: running, restarts, lastExit } = this.process;
    const state = running !== undefined ? "running" : lastExit === undefined ? "waiting" : "exited";
    return { name: this.name, image: this.image, state, pid: running?.pid, restarts, lastExit };
  }

  #changed(): void {
    const pid = this.process.process?.pid;
    if (pid !== this.#pid) {
      this.#pid = pid;
      this.#endProbes();
      if (pid !== undefined && !this.#stopped) {
        this.#o.event("Normal", "Started", `Started container ${this.name}`);
        void this.#watch(pid);
      } else if (this.process.waits && this.process.restarts > 0 && !this.#stopped) {
        this.#o.event("Warning", "BackOff", `Back-off restarting failed container ${this.name}`);
      }
    }
    if (this.process.startError !== undefined) {
      this.#o.event("Warning", "Failed", `Error: ${this.process.startError}`);
    }
    this.#o.changed();
  }

  #endProbes(): void {
    this.#prober?.stop();
    this.#prober = undefined;
    this.#listening.abort();
    this.#listens = false;
  }

  async #watch(pid: number): Promise<void> {
    const { container, command, clock, changed } = this.#o;
    const prober = new Prober({
      container,
      clock,
      changed,
      run: (kind, timeoutMs) => runProbe(probeOf(container, kind) ?? {}, container, this.#o.place, timeoutMs),
      failed: (kind, message) =>
        this.#o.event("Warning", "Unhealthy", `${TITLES[kind]} probe failed: ${message}`),
      dead: (kind) => this.#die(kind),
    });
    this.#prober = prober;
    const listening = new AbortController();
    this.#listening = listening;
    const asks = probeOf(container, "readiness") !== undefined || probeOf(container, "startup") !== undefined;
    prober.start();
    while (!asks && !listensOn(pid, command.ports)) {
      if (!(await pause(clock, LISTENS_EVERY_MS, listening.signal))) return;
    }
    this.#listens = true;
    changed();
  }

  #die(kind: ProbeKind): void {
    if (this.#stopped) return;
    const probe = probeOf(this.#o.container, kind);
    const seconds = probe?.terminationGracePeriodSeconds;
    const note = `Container ${this.name} failed ${kind} probe, will be restarted`;
    this.#o.event("Normal", "Killing", note);
    void this.process.kill(seconds === undefined ? this.#o.graceMs : seconds * 1000);
  }
}
