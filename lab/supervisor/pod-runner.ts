/**
 * One pod on its node: its network first, then its containers, until it is to go. What a kubelet is to a pod.
 *
 *   start      network (again until it works) -> containers -> probes
 *   terminate  preStop, SIGTERM, SIGKILL after the grace -> CNI DEL (again until it works)
 */
import { mkdirSync } from "node:fs";
import { constants } from "node:os";
import { type Clock, describeError } from "@weft/base";
import { podOfObject } from "@weft/cluster";
import { CniError } from "@weft/cni";
import { namedPath } from "@weft/kernel/netns";
import type { Pod } from "@weft/model";
import type { ContainerStatus as ApiContainerStatus, Handler, PodObject } from "../controllers/objects.ts";
import { type ContainerCommand, containerCommand } from "../images.ts";
import { labPaths } from "../state.ts";
import type { PodStatus } from "../status.ts";
import { podNamespaceName } from "../topology.ts";
import { type RestartPolicy, RunningContainer } from "./container.ts";
import { honoured } from "./honoured.ts";
import type { KeepRunning } from "./keep-running.ts";
import type { NodeNetwork, Sandbox } from "./node-network.ts";
import { type PodView, phaseOf, podStatusOf, type RunView } from "./pod-status.ts";
import { type ProbePlace, runProbe } from "./probe-run.ts";
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
  readonly event: (pod: PodObject, node: string, event: PodEvent) => void;
}

export interface PodEvent {
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly note: string;
}

/** For what is ended without anybody having said how long it may take. */
const GRACE_MS = 2000;
/** How often a node that cannot take pods yet is asked again. */
const NODE_WAIT_MS = 20;

export class PodRunner {
  readonly #object: PodObject;
  readonly #node: NodeNetwork;
  readonly #options: PodRunnerOptions;
  readonly #abort = new AbortController();
  /** Aborted when there is less time for its end than was said at first. */
  readonly #hurry = new AbortController();
  /** When its containers are to have ended, by performance.now(). */
  #until = Number.POSITIVE_INFINITY;
  /** Undefined when it could not be read, which its error says. */
  #pod: Pod | undefined;
  #containers: readonly RunningContainer[] = [];
  #place: ProbePlace | undefined;
  #sandbox: Sandbox | undefined;
  #phase: "Pending" | "Running" | "Terminating" = "Pending";
  readonly #takenAt: number;
  #since: number;
  #error: string | undefined;
  #hopeless = false;
  #instance = "";
  #running: Promise<void> | undefined;

  constructor(object: PodObject, node: NodeNetwork, options: PodRunnerOptions) {
    this.#object = object;
    this.#node = node;
    this.#options = options;
    this.#takenAt = options.clock.now();
    this.#since = this.#takenAt;
  }

  get uid(): string {
    return this.#object.metadata.uid ?? "";
  }
  get isTerminating(): boolean {
    return this.#phase === "Terminating";
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends it within `graceMs`, and takes down its network, trying until DEL succeeds or `hurry` aborts. */
  async terminate(graceMs: number, hurry: AbortSignal): Promise<void> {
    await this.#end(graceMs, true);
    const backoff = new Backoff();
    while (this.#sandbox !== undefined && this.#pod !== undefined) {
      try {
        await this.#node.detach(this.#pod, this.#sandbox);
        this.#sandbox = undefined;
      } catch (error) {
        this.#error = `network: ${describeError(error)}`;
        this.#event("Warning", "FailedKillPod", `error killing pod: ${this.#error}`);
        this.#options.changed();
        if (!(await pause(this.#options.clock, backoff.next(), hurry))) break;
      }
    }
  }

  /** Ends the containers and leaves the network as it is. */
  stop(): Promise<void> {
    return this.#end(GRACE_MS, false);
  }

  /** Less time than was said before. */
  hasten(graceMs: number): void {
    this.#until = Math.min(this.#until, performance.now() + graceMs);
    this.#hurry.abort(new Error("there was no time left for it"));
    for (const { process } of this.#containers) void process.kill(graceMs);
  }

  /** Containers that run now. */
  processes(): { name: string; process: KeepRunning }[] {
    const { namespace, name } = this.#object.metadata;
    return this.#containers.map((c) => ({ name: `${namespace}/${name} ${c.name}`, process: c.process }));
  }

  /** What the API is to say of it. */
  apiStatus(object: PodObject, now: number): NonNullable<PodObject["status"]> {
    return podStatusOf(object, this.#view(), now);
  }

  status(): PodStatus {
    const { namespace = "default", name, uid = "" } = this.#object.metadata;
    const containers = this.#containers.map((c) => c.status());
    const { readinessGates, hostNetwork = false, nodeName } = this.#object.spec;
    const view = this.#view();
    const api = podStatusOf(this.#object, view, this.#takenAt);
    const phase = this.isTerminating
      ? "Terminating"
      : (phaseOf(api.containerStatuses ?? [], view) as PodStatus["phase"]);
    const isReady = this.#containers.length > 0 && this.#containers.every((c) => c.ready);
    return {
      namespace,
      name,
      uid,
      node: nodeName,
      hostNetwork,
      phase,
      ready: phase === "Running" && isReady && readinessGates === undefined,
      podIPs: this.#sandbox?.addresses ?? [],
      containers:
        containers.length > 0
          ? containers
          : this.#object.spec.containers.map((c) => ({
              name: c.name,
              image: c.image,
              state: "waiting",
              pid: undefined,
              restarts: 0,
              lastExit: undefined,
            })),
      restarts: containers.reduce((sum, c) => sum + c.restarts, 0),
      since: this.#since,
      error: this.#error ?? this.#containers.map((c) => c.fault).find((fault) => fault !== undefined),
      hopeless: this.#hopeless,
      namespacePath: this.#sandbox === undefined ? undefined : this.#namespacePath(),
      interface: this.#sandbox?.interface,
    };
  }

  #view(): PodView {
    const runs = new Map<string, RunView>(this.#containers.map((c) => [c.name, runViewOf(c)] as const));
    return {
      addresses: this.#sandbox?.addresses,
      hostAddresses: this.#node.node.addresses,
      runs,
      error: this.#error,
      hopeless: this.#hopeless,
      takenAt: this.#takenAt,
      instance: this.#instance,
      carried: carriedOf(this.#object),
    };
  }

  async #run(): Promise<void> {
    try {
      const { pod, unhonoured } = podOfObject(this.#object);
      this.#pod = pod;
      const without = unhonoured.filter((path) => !honoured(path) && !DEFAULTED.test(path));
      if (without.length > 0) {
        this.#event("Warning", "FieldsWithoutEffect", `has no effect in the lab: ${without.join(", ")}`);
      }
      // What cannot ever start is said before anything is made.
      this.#commands(pod, []);
      if (!(await this.#attach(pod)) || this.#sandbox === undefined) return;
      this.#startContainers(pod, this.#sandbox);
    } catch (error) {
      this.#error = describeError(error);
      this.#hopeless = true;
      this.#event("Warning", "Failed", `Error: ${this.#error}`);
      this.#options.changed();
    }
  }

  async #end(graceMs: number, isWanted: boolean): Promise<void> {
    this.#abort.abort();
    this.#enter("Terminating");
    await this.#running;
    this.#until = Math.min(this.#until, performance.now() + graceMs);
    await Promise.all(
      this.#containers.map(async (c, i) => {
        if (isWanted && c.process.process !== undefined) {
          this.#event("Normal", "Killing", `Stopping container ${c.name}`);
          const preStop = this.#object.spec.containers[i]?.lifecycle?.preStop;
          if (preStop !== undefined && graceMs > 0) await this.#preStop(preStop, i, graceMs);
        }
        await c.stop(Math.max(0, this.#until - performance.now()));
      }),
    );
    this.#options.changed();
  }

  /** Its time counts for the grace; who is in a hurry does not wait for it. */
  async #preStop(handler: Handler, index: number, graceMs: number): Promise<void> {
    const container = this.#object.spec.containers[index];
    const { signal } = this.#hurry;
    if (this.#place === undefined || container === undefined) return;
    if (handler.sleep !== undefined) {
      const ended = this.#containers[index]?.process;
      const ms = Math.min(graceMs, handler.sleep.seconds * 1000);
      const end = performance.now() + ms;
      while (performance.now() < end && ended?.process !== undefined && !signal.aborted) {
        await pause(this.#options.clock, Math.min(100, end - performance.now()), signal);
      }
      return;
    }
    const { ok, message } = await runProbe(handler, container, this.#place, graceMs, signal);
    if (!ok) this.#event("Warning", "FailedPreStopHook", message);
  }

  /** False when aborted. */
  async #attach(pod: Pod): Promise<boolean> {
    const { clock, limit, notReady, changed } = this.#options;
    const node = this.#node;
    const name = node.node.name;
    const backoff = new Backoff();
    for (;;) {
      const reason = pod.hostNetwork ? undefined : notReady(name, pod);
      if (reason !== undefined) {
        this.#error = reason;
        if (!(await pause(clock, NODE_WAIT_MS, this.#abort.signal))) return false;
        continue;
      }
      try {
        await limit.run(async () => {
          if (!this.#abort.signal.aborted) this.#sandbox = await node.attach(pod);
        });
        this.#error = undefined;
        return this.#sandbox !== undefined;
      } catch (error) {
        this.#error = `network: ${describeError(error)}`;
        this.#event("Warning", "FailedCreatePodSandBox", `Failed to create pod sandbox: ${inFull(error)}`);
        changed();
      }
      if (!(await pause(clock, backoff.next(), this.#abort.signal))) return false;
    }
  }

  #startContainers(pod: Pod, sandbox: Sandbox): void {
    if (this.#abort.signal.aborted) return;
    const { lab, clock } = this.#options;
    const logs = labPaths(lab).podLogs(pod.namespace, pod.name);
    mkdirSync(logs, { recursive: true, mode: 0o700 });
    this.#instance = crypto.randomUUID().slice(0, 8);
    const commands = this.#commands(pod, sandbox.addresses);
    const { restartPolicy = "Always", terminationGracePeriodSeconds: grace = 30 } = this.#object.spec;
    if ([...carriedOf(this.#object).values()].some((c) => c.state.running !== undefined)) {
      const note = "Pod sandbox changed, it will be killed and re-created.";
      this.#event("Normal", "SandboxChanged", note);
    }
    this.#containers = this.#object.spec.containers.map((container, i) => {
      const command = commands[i] as ContainerCommand;
      const environment = { ...baseEnvironment(), ...command.environment };
      const place: ProbePlace = {
        node: this.#node.namespace,
        pod: sandbox.namespace,
        addresses: sandbox.addresses,
        environment,
      };
      this.#place ??= place;
      return new RunningContainer({
        container,
        command: { ...command, environment },
        policy: restartPolicy as RestartPolicy,
        graceMs: grace * 1000,
        namespace: sandbox.namespace,
        place,
        log: `${logs}/${container.name}.log`,
        clock,
        changed: () => this.#options.changed(),
        event: (type, reason, note) => this.#event(type, reason, note),
      });
    });
    this.#enter("Running");
    for (const container of this.#containers) container.start();
  }

  #commands(pod: Pod, addresses: readonly string[]): ContainerCommand[] {
    const place = { node: this.#node.node.name, addresses };
    return pod.containers.map((c) => containerCommand(pod, c, place, this.#options.executable));
  }

  #event(type: "Normal" | "Warning", reason: string, note: string): void {
    this.#options.event(this.#object, this.#node.node.name, { type, reason, note });
  }

  #enter(phase: "Running" | "Terminating"): void {
    this.#phase = phase;
    this.#since = this.#options.clock.now();
    this.#options.changed();
  }

  #namespacePath(): string {
    const { hostNetwork } = this.#object.spec;
    if (hostNetwork === true) return namedPath(this.#node.node.namespace);
    const { namespace = "default", name } = this.#object.metadata;
    return namedPath(podNamespaceName(this.#options.lab, namespace, name));
  }
}

/** Fields that the server itself fills in: nobody asked for them. */
const DEFAULTED =
  /^metadata\.generateName$|^spec\.(dnsPolicy|enableServiceLinks|securityContext|schedulerName|priority|preemptionPolicy)$|\.(imagePullPolicy|terminationMessagePath|terminationMessagePolicy|resources)$/;

/** Of the same pod as an earlier supervisor left it. */
const carriedOf = ({ status }: PodObject): ReadonlyMap<string, ApiContainerStatus> =>
  new Map((status?.containerStatuses ?? []).map((c) => [c.name, c]));

/** What a container gets besides its own environment: nothing of the supervisor's. */
const baseEnvironment = (): Record<string, string> => ({
  PATH: process.env["PATH"] ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/root",
  LANG: "C.UTF-8",
});

function runViewOf(c: RunningContainer): RunView {
  const { process, lastEnd, restarts, startError, startedAt } = c.process;
  const { signal } = lastEnd ?? {};
  return {
    runningSince: process === undefined ? undefined : startedAt,
    lastEnd:
      lastEnd === undefined
        ? undefined
        : { ...lastEnd, signal: signal === undefined ? undefined : constants.signals[signal] },
    over: c.over !== undefined,
    restarts,
    started: c.started,
    ready: c.ready,
    startError,
  };
}

/** What a plugin said, with its details, where the hint is: as kubelet tells it. */
function inFull(error: unknown): string {
  const details = error instanceof CniError ? error.details : undefined;
  return details === undefined ? describeError(error) : `${describeError(error)}; ${details}`;
}
