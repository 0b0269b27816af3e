/**
 * The lab's API server, a process of its own (`weft server`): on a unix socket for the agents in their namespaces and for
 * the supervisor, and on 127.0.0.1 for kubectl, with a port that stays the same for as long as the lab is there.
 */
import type { Clock, Logger } from "@weft/base";
import { openOwnNetns } from "@weft/kernel/netns";
import { type FamilyChoice, familiesOf } from "../options.ts";
import { changeRecord, labPaths, readRecord } from "../state.ts";
import { KeepRunning } from "./keep-running.ts";
import { pause } from "./wait.ts";

/** Of services, by family: the same for every lab. */
const SERVICE_RANGES = { 4: "10.96.0.0/16", 6: "fd00:96::/112" } as const;
const ASK_EVERY_MS = 10;
const ANSWER_MS = 2000;
const GRACE_MS = 2000;

export interface ApiServerOptions {
  readonly lab: string;
  readonly executable: string;
  /** Families of pods, and so of services. */
  readonly pods: FamilyChoice;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly changed: () => void;
}

export class ApiServer {
  readonly process: KeepRunning;
  readonly #o: ApiServerOptions;
  readonly #namespace = openOwnNetns();
  readonly #stopping = new AbortController();
  #seenPid: number | undefined;

  constructor(options: ApiServerOptions) {
    this.#o = options;
    const { lab, clock } = options;
    this.process = new KeepRunning(
      {
        argv: () => this.#argv(),
        environment: process.env,
        namespace: this.#namespace,
        log: labPaths(lab).serverLog,
      },
      { clock, changed: () => this.#changed() },
    );
  }

  /** Why nobody can be asked, as far as that is known. */
  get fault(): string | undefined {
    const { process: running, startError, lastExit } = this.process;
    if (running !== undefined) return undefined;
    return `the API server does not run: ${startError ?? `it ended with ${lastExit ?? "nothing"}`}; see ${labPaths(this.#o.lab).serverLog}`;
  }

  /** Resolves once it answers; false when it was stopped before. */
  async start(): Promise<boolean> {
    this.process.start();
    while (!(await this.#answers())) {
      if (!(await pause(this.#o.clock, ASK_EVERY_MS, this.#stopping.signal))) return false;
    }
    return true;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.process.stop(GRACE_MS);
    this.#namespace.close();
  }

  async #answers(): Promise<boolean> {
    try {
      const { apiSocket } = labPaths(this.#o.lab);
      const signal = AbortSignal.timeout(ANSWER_MS);
      return (await fetch("http://server/livez", { unix: apiSocket, signal })).ok;
    } catch {
      return false;
    }
  }

  /** A port that somebody else has taken meanwhile is given up: kubectl finds the new one in the kubeconfig. */
  #argv(): readonly string[] {
    const { lab, executable, pods } = this.#o;
    const paths = labPaths(lab);
    const known = readRecord(lab)?.apiPort;
    const port = freePort(known ?? 0) ?? freePort(0) ?? 0;
    if (port !== known) {
      if (known !== undefined) this.#o.logger.warn("the port of the API server is taken", { known, port });
      changeRecord(lab, { apiPort: port });
    }
    const ranges = familiesOf(pods).map((family) => SERVICE_RANGES[family]);
    return [
      executable,
      "server",
      ...["--data", paths.server],
      ...["--port", String(port)],
      ...["--kubeconfig", paths.kubeconfig],
      ...["--service-range", ranges.join()],
    ];
  }

  #changed(): void {
    const pid = this.process.process?.pid;
    if (pid === undefined && this.#seenPid !== undefined) {
      this.#o.logger.warn("API server ended", { why: this.process.lastExit });
    }
    this.#seenPid = pid;
    this.#o.changed();
  }
}

/** The port, or any with 0, if nobody listens on it; undefined otherwise. */
export function freePort(port: number): number | undefined {
  try {
    const listener = Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } });
    const found = listener.port;
    listener.stop(true);
    return found;
  } catch {
    // In use is the only reason on loopback; whatever else it is, the server will say.
    return undefined;
  }
}
