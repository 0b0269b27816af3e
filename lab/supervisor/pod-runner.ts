/** One pod on its node: its network first, then its containers, until it is to go. */
import { mkdirSync } from "node:fs";
import { type Clock, describeError } from "@weft/base";
import { namedPath } from "@weft/kernel/netns";
import type { Pod } from "@weft/model";
import { type ContainerCommand, containerCommand } from "../images.ts";
import { listensOn } from "../processes.ts";
import { labPaths } from "../state.ts";
import type { ContainerStatus, PodStatus } from "../status.ts";
import { podNamespaceName } from "../topology.ts";
import { KeepRunning } from "./keep-running.ts";
import type { NodeNetwork, Sandbox } from "./node-network.ts";
import { Backoff, type Limit, pause } from "./wait.ts";

export interface PodRunnerOptions {
  readonly lab: string;
  readonly executable: string;
  readonly clock: Clock;
  /** How many pods may be attached at a time. */
  readonly limit: Limit;
  /** Something that is to be kept on disk or seen by somebody has changed. */
  readonly changed: () => void;
  /** Why the node cannot take the pod yet; undefined when it can. */
  readonly notReady: (node: string, pod: Pod) => string | undefined;
}

const GRACE_MS = 2000;
/** How often a node that cannot take pods yet is asked again. */
const NODE_WAIT_MS = 50;

interface RunningContainer {
  readonly name: string;
  readonly image: string;
  readonly ports: readonly number[];
  readonly process: KeepRunning;
  /** Process that was seen listening on its ports. */
  readyPid: number | undefined;
}

export class PodRunner {
  readonly pod: Pod;
  readonly nodeName: string;
  readonly #node: NodeNetwork | undefined;
  readonly #options: PodRunnerOptions;
  readonly #abort = new AbortController();
  #containers: readonly RunningContainer[] = [];
  #sandbox: Sandbox | undefined;
  #phase: PodStatus["phase"] = "Pending";
  #since: number;
  #error: string | undefined;
  #hopeless = false;
  #running: Promise<void> | undefined;

  constructor(pod: Pod, nodeName: string, node: NodeNetwork | undefined, options: PodRunnerOptions) {
    this.pod = pod;
    this.nodeName = nodeName;
    this.#node = node;
    this.#options = options;
    this.#since = options.clock.now();
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Stops the containers; with `detach` also takes down the network, trying until DEL succeeds or `hurry` aborts. */
  async stop(detach: boolean, hurry: AbortSignal): Promise<void> {
    this.#abort.abort();
    this.#enter("Terminating");
    await this.#running;
    await Promise.all(this.#containers.map(({ process }) => process.stop(GRACE_MS)));
    const backoff = new Backoff();
    while (detach && this.#sandbox !== undefined && this.#node !== undefined) {
      try {
        await this.#node.detach(this.pod, this.#sandbox);
        this.#sandbox = undefined;
      } catch (error) {
        this.#error = `network: ${describeError(error)}`;
        this.#options.changed();
        if (!(await pause(this.#options.clock, backoff.next(), hurry))) break;
      }
    }
  }

  /** Containers that run now. */
  processes(): { name: string; process: KeepRunning }[] {
    return this.#containers.map(({ name, process }) => ({
      name: `${this.pod.namespace}/${this.pod.name} ${name}`,
      process,
    }));
  }

  status(): PodStatus {
    const { namespace, name, uid, hostNetwork } = this.pod;
    const containers = this.#containers.map(containerStatus);
    const ready = this.#phase === "Running" && this.#containers.every(isReady) && this.#containers.length > 0;
    const failing = this.#containers.find((c) => c.process.process === undefined);
    return {
      namespace,
      name,
      uid,
      node: this.nodeName,
      hostNetwork,
      phase: this.#phase,
      ready,
      podIPs: this.#sandbox?.addresses ?? [],
      containers:
        containers.length > 0
          ? containers
          : this.pod.containers.map((c) => ({
              name: c.name,
              image: c.image,
              state: "waiting",
              pid: undefined,
              restarts: 0,
              lastExit: undefined,
            })),
      restarts: containers.reduce((sum, c) => sum + c.restarts, 0),
      since: this.#since,
      error: this.#error ?? (failing === undefined ? undefined : failureOf(failing)),
      hopeless: this.#hopeless,
      namespacePath: this.#sandbox === undefined ? undefined : this.#namespacePath(),
      interface: this.#sandbox?.interface,
    };
  }

  async #run(): Promise<void> {
    try {
      const node = this.#node;
      if (node === undefined) throw new Error(`the lab has no node "${this.nodeName}"`);
      // What cannot ever start is said before anything is made.
      this.#commands([]);
      if (!(await this.#attach(node)) || this.#sandbox === undefined) return;
      this.#startContainers(this.#sandbox);
    } catch (error) {
      this.#error = describeError(error);
      this.#hopeless = true;
      this.#options.changed();
    }
  }

  /** False when aborted. */
  async #attach(node: NodeNetwork): Promise<boolean> {
    const { clock, limit, notReady, changed } = this.#options;
    const backoff = new Backoff();
    for (;;) {
      const reason = this.pod.hostNetwork ? undefined : notReady(this.nodeName, this.pod);
      if (reason !== undefined) {
        this.#error = reason;
        if (!(await pause(clock, NODE_WAIT_MS, this.#abort.signal))) return false;
        continue;
      }
      try {
        await limit.run(async () => {
          if (!this.#abort.signal.aborted) this.#sandbox = await node.attach(this.pod);
        });
        this.#error = undefined;
        return this.#sandbox !== undefined;
      } catch (error) {
        this.#error = `network: ${describeError(error)}`;
        changed();
      }
      if (!(await pause(clock, backoff.next(), this.#abort.signal))) return false;
    }
  }

  #startContainers(sandbox: Sandbox): void {
    if (this.#abort.signal.aborted) return;
    const { lab, clock, changed } = this.#options;
    const logs = labPaths(lab).podLogs(this.pod.namespace, this.pod.name);
    mkdirSync(logs, { recursive: true, mode: 0o700 });
    const commands = this.#commands(sandbox.addresses);
    this.#containers = this.pod.containers.map((container, i) => {
      const { argv, environment, ports } = commands[i] as ContainerCommand;
      const process = new KeepRunning(
        {
          argv,
          environment: { ...baseEnvironment(), ...environment },
          namespace: sandbox.namespace,
          log: `${logs}/${container.name}.log`,
        },
        { clock, changed },
      );
      return { name: container.name, image: container.image, ports, process, readyPid: undefined };
    });
    this.#enter("Running");
    for (const { process } of this.#containers) process.start();
  }

  #commands(addresses: readonly string[]): ContainerCommand[] {
    const place = { node: this.nodeName, addresses };
    return this.pod.containers.map((c) => containerCommand(this.pod, c, place, this.#options.executable));
  }

  #enter(phase: PodStatus["phase"]): void {
    this.#phase = phase;
    this.#since = this.#options.clock.now();
    this.#options.changed();
  }

  #namespacePath(): string {
    if (this.pod.hostNetwork && this.#node !== undefined) return namedPath(this.#node.node.namespace);
    return namedPath(podNamespaceName(this.#options.lab, this.pod.namespace, this.pod.name));
  }
}

/** What a container gets besides its own environment: nothing of the supervisor's. */
const baseEnvironment = (): Record<string, string> => ({
  PATH: process.env["PATH"] ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/root",
  LANG: "C.UTF-8",
});

function isReady(container: RunningContainer): boolean {
  const pid = container.process.process?.pid;
  if (pid === undefined) return false;
  if (container.readyPid !== pid && listensOn(pid, container.ports)) container.readyPid = pid;
  return container.readyPid === pid;
}

function containerStatus({ name, image, process }: RunningContainer): ContainerStatus {
  const { process: running, restarts, lastExit } = process;
  const state = running !== undefined ? "running" : lastExit === undefined ? "waiting" : "exited";
  return { name, image, state, pid: running?.pid, restarts, lastExit };
}

function failureOf({ name, process }: RunningContainer): string {
  return `container ${name}: ${process.startError ?? `ended with ${process.lastExit ?? "nothing"}, and is started again`}`;
}
