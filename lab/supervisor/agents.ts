/** The agents, one on each node: started, watched until ready, started again when they end. */
import { existsSync, mkdirSync, symlinkSync, unlinkSync } from "node:fs";
import { type Clock, describeError, type Logger } from "@weft/base";
import { labPaths } from "../state.ts";
import type { NodeStatus } from "../status.ts";
import { KeepRunning } from "./keep-running.ts";
import type { NodeNetwork } from "./node-network.ts";
import type { NetworkFault } from "./node-runner.ts";
import { pause } from "./wait.ts";

/** The executable lies in a node's plugin directory by this name, which it looks at; the plugin's shim finds it there. */
const WHOLE = "weft-loopback";
const PLUGIN = "weft";
const ASK_READY_MS = 5000;
/** The network must have been unwell for this long before the node is said not to be ready. */
const FAILING_MS = 3000;
/** It may have much to do, and so may the machine. */
const ANSWER_MS = 5000;
const GRACE_MS = 2000;

export interface AgentOptions {
  readonly lab: string;
  readonly executable: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly changed: () => void;
  /** How often an agent that is not ready is asked. */
  readonly askEveryMs: number;
  /** Nothing of an earlier supervisor is attached to the node any more. */
  readonly collected: () => void;
}

export class Agent {
  readonly network: NodeNetwork;
  readonly #options: AgentOptions;
  readonly #process: KeepRunning;
  #stopped = false;
  /** Aborted when there is something to ask for. */
  #nap = new AbortController();
  #ready = false;
  #waitingFor: string | undefined = "not started yet";
  #since: number;
  #seenPid: number | undefined;
  #collected = false;
  #networkState: NetworkFault;
  /** Monotonic time since when the network has not been well. */
  #failingSince: number | undefined;

  constructor(network: NodeNetwork, options: AgentOptions) {
    this.network = network;
    this.#options = options;
    this.#since = options.clock.now();
    const { lab, executable, clock } = options;
    const paths = labPaths(lab);
    const { name } = network.node;
    this.#process = new KeepRunning(
      {
        argv: [
          executable,
          "agent",
          "--node",
          name,
          "--root",
          paths.node(name),
          "--kubeconfig",
          paths.agentKubeconfig,
          "--settings",
          paths.settings,
        ],
        environment: process.env,
        namespace: network.namespace,
        log: paths.agentLog(name),
      },
      { clock, changed: () => this.#processChanged() },
    );
  }

  get process(): KeepRunning {
    return this.#process;
  }
  get ready(): boolean {
    return this.#ready;
  }
  /** What the node says of its pods' network; undefined as long as nothing was seen. */
  get networkState(): NetworkFault {
    return this.#networkState;
  }
  get waitingFor(): string | undefined {
    return this.#waitingFor;
  }

  start(): void {
    const { lab, executable } = this.#options;
    installPlugins(labPaths(lab).pluginDirectory(this.network.node.name), executable);
    this.#process.start();
    void this.#follow();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#nap.abort();
    await this.#process.stop(GRACE_MS);
  }

  /** Why the node cannot take pods yet. A runtime looks at the node's network configuration alone, and so does this. */
  get notReadyForPods(): string | undefined {
    if (this.#collected) return undefined;
    return `${this.network.node.name} has no pod network yet: ${this.#waitingFor ?? "its leftovers are being removed"}`;
  }

  status(): NodeStatus {
    const { name, addresses } = this.network.node;
    return {
      name,
      addresses,
      pid: this.#process.process?.pid,
      ready: this.#ready,
      waitingFor: this.#waitingFor,
      restarts: this.#process.restarts,
      since: this.#since,
    };
  }

  #processChanged(): void {
    const pid = this.#process.process?.pid;
    if (pid !== this.#seenPid) {
      this.#seenPid = pid;
      this.#nap.abort();
      if (pid === undefined) {
        const why = this.#process.startError ?? `ended with ${this.#process.lastExit ?? "nothing"}`;
        this.#options.logger.warn("agent ended", { node: this.network.node.name, why });
        this.#set(false, why);
      } else {
        this.#set(false, "starting");
      }
    } else if (this.#process.startError !== undefined) {
      this.#set(false, this.#process.startError);
    }
    this.#options.changed();
  }

  async #follow(): Promise<void> {
    const { clock, askEveryMs } = this.#options;
    while (!this.#stopped) {
      if (this.#process.process !== undefined) await this.#ask();
      if (!this.#collected && this.network.hasNetwork()) await this.#collectGarbage();
      await this.#look();
      this.#nap = new AbortController();
      if (this.#stopped) return;
      await pause(clock, this.#ready ? ASK_READY_MS : askEveryMs, this.#nap.signal);
    }
  }

  async #ask(): Promise<void> {
    const pid = this.#process.process?.pid;
    try {
      const response = await fetch("http://agent/v1/status", {
        unix: labPaths(this.#options.lab).agentSocket(this.network.node.name),
        signal: AbortSignal.timeout(ANSWER_MS),
      });
      const { ready, waitingFor } = (await response.json()) as { ready?: unknown; waitingFor?: unknown };
      // What a predecessor said does not count.
      if (pid !== this.#process.process?.pid) return;
      this.#set(ready === true, ready === true ? undefined : String(waitingFor ?? "not ready"));
    } catch (error) {
      if (pid !== undefined && pid === this.#process.process?.pid) {
        this.#set(false, `its socket does not answer: ${describeError(error)}`);
      }
    }
  }

  /** A runtime asks the plugin. An agent that ends is back within a second, and the network stands meanwhile. */
  async #look(): Promise<void> {
    const { clock, changed } = this.#options;
    const fault =
      this.#ready && this.#collected ? await this.network.statusFault() : (this.#waitingFor ?? "");
    const now = clock.monotonic();
    if (fault === undefined) this.#failingSince = undefined;
    else {
      this.#failingSince ??= now;
      if (now - this.#failingSince < FAILING_MS) return;
    }
    if (this.#networkState?.fault === fault && this.#networkState !== undefined) return;
    this.#networkState = { fault };
    changed();
  }

  /** Once, before the node's first pod: nothing that an earlier supervisor attached is valid. */
  async #collectGarbage(): Promise<void> {
    try {
      await this.network.collectGarbage();
    } catch (error) {
      const { name } = this.network.node;
      this.#options.logger.warn("CNI GC failed", { node: name, error: describeError(error) });
    }
    this.#collected = true;
    this.#options.collected();
    this.#options.changed();
  }

  #set(ready: boolean, waitingFor: string | undefined): void {
    if (ready !== this.#ready) {
      this.#ready = ready;
      this.#since = this.#options.clock.now();
      if (ready) this.#options.logger.info("agent ready", { node: this.network.node.name });
      this.#waitingFor = waitingFor;
      this.#options.changed();
    }
    this.#waitingFor = waitingFor;
  }
}

/**
 * Symbolic links: a file system below /run may forbid execution, which is looked at where the file itself is,
 * and a link costs no 100 MB for each node.
 */
function installPlugins(directory: string, executable: string): void {
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  const shim = `${executable}-cni`;
  const targets = { [WHOLE]: executable, [PLUGIN]: existsSync(shim) ? shim : executable };
  for (const [name, target] of Object.entries(targets)) {
    const path = `${directory}/${name}`;
    try {
      unlinkSync(path);
    } catch {
      // Was not there.
    }
    symlinkSync(target, path);
  }
}
