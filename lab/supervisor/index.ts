/**
 * The supervisor: one process for each lab, for as long as the lab is up.
 *
 *   manifests/ --Manifests--> API server <--watch, write-- Controllers: nodes for pods, Deployments, EndpointSlices ...
 *                              (a process)  <--watch----- agents (a process on each node), controller (a process)
 *                                  |   ^
 *                          bound pods  | statuses, leases
 *                                  v   |
 *                             ApiPods, ApiNodes --> Pods --> PodRunner --CNI--> NodeNetwork (one a node)
 *
 *   lab.sock   GET /v1/status   GET /v1/pods   POST /v1/stop
 *
 * Its children are recorded in processes.json. One that was killed leaves them behind; the next supervisor ends
 * them, runs CNI DEL for every attachment in the nodes' caches, and starts the pods anew: the same ones, for the API
 * server has kept them.
 */
import { chmodSync, existsSync, unlinkSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { createLogger, describeError, fdWriter, type Logger, systemClock, WeftError } from "@weft/base";
import {
  type ApiClient,
  createClient,
  createEventRecorder,
  type EventRecorder,
  loadCredentials,
  PODS,
} from "@weft/cluster/client";
import type { Pod } from "@weft/model";
import { Controllers } from "../controllers/index.ts";
import type { PodObject } from "../controllers/objects.ts";
import { eventOf } from "../controllers/write.ts";
import { writeAgentKubeconfig } from "../files.ts";
import type { LabOptions } from "../options.ts";
import { identify } from "../processes.ts";
import { type LabProcess, labPaths, readRecord, writeProcesses } from "../state.ts";
import type { LabStatus } from "../status.ts";
import { type PlannedNode, planTopology, podNamespaceName } from "../topology.ts";
import { SYSTEM_NAMESPACE } from "./agent-pods.ts";
import { Agent } from "./agents.ts";
import { ApiNodes } from "./api-nodes.ts";
import { ApiPods } from "./api-pods.ts";
import { ApiServer } from "./api-server.ts";
import { ControllerProcess } from "./controller-process.ts";
import { endLeftProcesses, LeftNamespaces } from "./leftovers.ts";
import { Manifests } from "./manifests.ts";
import { makeNamespace } from "./namespace.ts";
import { manageUnderlay } from "./network-manager.ts";
import { NodeNetwork } from "./node-network.ts";
import { Pods } from "./pods.ts";
import { Limit } from "./wait.ts";

/** CNI operations at a time, over all nodes: they are processes, and the machine has few cores. */
const ATTACH_AT_ONCE = 8;
const RECORD_AFTER_MS = 20;
/** Asking whether agents are ready must not keep many of them from becoming so. */
const ASK_EVERY_MS = 50;
const ASK_PER_NODE_MS = 5;
/** Pods are spread over all nodes: so long one that does not come up is waited for. */
const NODES_MS = 20_000;
const NODES_PER_NODE_MS = 500;
/** What is no news to anybody while the pods start waits for so long: the controller, agents' pods, leases; events. */
const LATER_MS = 1500;
const EVENTS_MS = 1000;

/** The program `weft lab supervise --name NAME`: runs until SIGTERM or POST /v1/stop. Throws "not-found". */
export async function runSupervisor(lab: string, executable: string): Promise<void> {
  const record = readRecord(lab);
  if (record === undefined) {
    throw new WeftError("not-found", `there is no lab "${lab}"`, { hint: "Make it with weft lab up." });
  }
  const supervisor = new Supervisor(lab, record.options, executable, createLogger(fdWriter(2)));
  // An agent takes what it sees of processes for all there are when a runtime is among them: its name says that it is one.
  writeFileSync("/proc/self/comm", "weft-lab");
  const { promise: stopped, resolve: stop } = Promise.withResolvers<void>();
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  // Its terminal may go; the lab stays.
  process.on("SIGHUP", () => {});
  await supervisor.start(stop);
  await stopped;
  await supervisor.stop();
}

class Supervisor {
  readonly #lab: string;
  readonly #labOptions: LabOptions;
  readonly #logger: Logger;
  readonly #startedAt = Date.now();
  readonly #server: ApiServer;
  readonly #controller: ControllerProcess;
  readonly #agents: ReadonlyMap<string, Agent>;
  readonly #client: ApiClient;
  readonly #recorders = new Map<string, EventRecorder>();
  readonly #controllers: Controllers;
  readonly #pods: Pods;
  readonly #apiPods: ApiPods;
  readonly #apiNodes: ApiNodes;
  readonly #manifests: Manifests;
  #left: LeftNamespaces | undefined;
  #waitingFor: string | undefined = "the API server is starting";
  #unmanage: (() => void) | undefined;
  #control: Bun.Server<undefined> | undefined;
  #recordTimer: ReturnType<typeof setTimeout> | undefined;
  #nodesTimer: ReturnType<typeof setTimeout> | undefined;
  #laterTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #stopping = new AbortController();

  constructor(lab: string, options: LabOptions, executable: string, logger: Logger) {
    this.#lab = lab;
    this.#labOptions = options;
    this.#logger = logger;
    const clock = systemClock;
    const paths = labPaths(lab);
    const changed = (): void => this.#changed();
    const child = { lab, executable, clock, logger, changed };
    this.#server = new ApiServer({ ...child, pods: options.pods });
    this.#controller = new ControllerProcess(child);
    const agent = (node: PlannedNode): Agent =>
      new Agent(new NodeNetwork(lab, node), {
        ...child,
        changed: () => {
          this.#changed();
          this.#apiNodes.changed(node.name);
        },
        askEveryMs: Math.max(ASK_EVERY_MS, options.nodes * ASK_PER_NODE_MS),
        collected: () => this.#left?.release(node.name),
      });
    this.#agents = new Map(planTopology(options).nodes.map((node) => [node.name, agent(node)]));
    writeAgentKubeconfig(lab);
    this.#client = createClient({
      credentials: loadCredentials({ path: paths.agentKubeconfig }),
      userAgent: "weft-lab",
      // Nobody else is kept waiting by it: the server is this lab's own.
      rateLimit: { qps: 1000, burst: 1000 },
      logger,
    });
    const recorder = this.#recorder(`lab ${lab}`);
    this.#controllers = new Controllers({ client: this.#client, recorder, clock, logger });
    this.#pods = new Pods(new Map([...this.#agents].map(([name, a]) => [name, a.network])), {
      lab,
      executable,
      clock,
      client: this.#client,
      limit: new Limit(ATTACH_AT_ONCE),
      changed: (key) => {
        this.#changed();
        this.#apiPods.changed(key);
      },
      notReady: (node, pod) => this.#agents.get(node)?.notReadyForPods ?? this.#predecessorOf(pod),
      event: (pod: PodObject, node, { type, reason, note }) =>
        this.#recorder(node).record(eventOf(PODS, pod, type, reason, reason, note)),
    });
    this.#apiPods = new ApiPods({ controllers: this.#controllers, pods: this.#pods, clock, logger });
    this.#apiNodes = new ApiNodes({ controllers: this.#controllers, agents: this.#agents, clock, logger });
    this.#manifests = new Manifests({
      directory: resolve(options.manifests ?? paths.manifests),
      record: paths.imported,
      client: this.#client,
      clock,
      logger,
      changed,
    });
  }

  /** Returns once it can be asked how the lab is; the lab comes up meanwhile. */
  async start(stop: () => void): Promise<void> {
    await endLeftProcesses(this.#lab, this.#logger);
    const nodes = [...this.#agents].map(([name, a]) => ({ name, cached: a.network.cachedNamespaces() }));
    this.#left = new LeftNamespaces(this.#lab, nodes);
    this.#record();
    this.#serve(stop);
    this.#unmanage = manageUnderlay(planTopology(this.#labOptions), this.#logger);
    void this.#bringUp().catch((error) => {
      if (this.#stopped) return;
      this.#waitingFor = `the lab cannot be brought up: ${describeError(error)}`;
      this.#logger.error("the lab cannot be brought up", { error: describeError(error) });
    });
    this.#logger.info("lab is supervised", { lab: this.#lab });
  }

  /** Agents take their time to start, and try again until the server is there. */
  async #bringUp(): Promise<void> {
    const serving = this.#server.start();
    for (const agent of this.#agents.values()) agent.start();
    if (!(await serving)) return;
    const options = { client: this.#client, clock: systemClock, logger: this.#logger };
    if (!(await makeNamespace(SYSTEM_NAMESPACE, { ...options, signal: this.#stopping.signal }))) return;
    this.#apiNodes.start();
    this.#manifests.start();
    await this.#controllers.start();
    if (this.#stopped) return;
    this.#apiPods.start();
    this.#waitingFor = undefined;
    const patience = Math.max(NODES_MS, this.#agents.size * NODES_PER_NODE_MS);
    const schedule = (): void => {
      // Nodes may become ready while the lab is being stopped: what is started then nobody would stop.
      if (this.#stopped) return;
      clearTimeout(this.#nodesTimer);
      this.#controllers.startScheduling();
      this.#laterTimer ??= setTimeout(() => {
        this.#controller.process.start();
        this.#apiNodes.startRest();
      }, LATER_MS);
    };
    this.#nodesTimer = setTimeout(schedule, patience);
    this.#controllers.nodes.listen(() => {
      if (this.#apiNodes.unready.length === 0) schedule();
    });
    if (this.#apiNodes.unready.length === 0) schedule();
  }

  /** Stops containers and agents; namespaces and files stay for `down`, or for the next supervisor. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#nodesTimer);
    clearTimeout(this.#laterTimer);
    this.#unmanage?.();
    await Promise.all([this.#manifests.stop(), this.#apiPods.stop(), this.#apiNodes.stop()]);
    await Promise.all([this.#pods.stop(), this.#controller.stop()]);
    await Promise.all([...this.#agents.values()].map((agent) => agent.stop()));
    await this.#controllers.stop();
    await Promise.all([...this.#recorders.values()].map((recorder) => recorder.stop()));
    this.#client.close();
    await this.#server.stop();
    for (const agent of this.#agents.values()) agent.network.close();
    clearTimeout(this.#recordTimer);
    writeProcesses(this.#lab, []);
    await this.#control?.stop(true);
    this.#logger.info("lab is not supervised any more", { lab: this.#lab });
  }

  #status(): LabStatus {
    const { process } = this.#server;
    return {
      name: this.#lab,
      options: this.#labOptions,
      supervisor: { pid: globalThis.process.pid, startedAt: this.#startedAt },
      api: {
        kubeconfig: labPaths(this.#lab).kubeconfig,
        pid: process.process?.pid,
        restarts: process.restarts,
        waitingFor: this.#server.fault ?? this.#waiting(),
      },
      nodes: [...this.#agents.values()].map((agent) => agent.status()),
      pods: this.#apiPods.status(),
      sourceErrors: this.#manifests.errors,
      sourceWarnings: this.#manifests.warnings,
    };
  }

  #waiting(): string | undefined {
    if (this.#waitingFor !== undefined) return this.#waitingFor;
    const away = this.#controllers.fault;
    if (away !== undefined) return `the API server does not answer: ${away}`;
    if (!existsSync(labPaths(this.#lab).kubeconfig)) return "the API server has no kubeconfig yet";
    if (!this.#manifests.settled) return "manifests are being given to the API server";
    const unready = this.#apiNodes.unready;
    if (unready.length > 0) return `the API does not have these nodes as ready: ${unready.join(", ")}`;
    return this.#controllers.unsettled();
  }

  #recorder(instance: string): EventRecorder {
    const held = this.#recorders.get(instance);
    if (held !== undefined) return held;
    const recorder = createEventRecorder({
      client: this.#client,
      controller: "weft.network/lab",
      instance,
      byNote: true,
      gather: EVENTS_MS,
      logger: this.#logger,
    });
    this.#recorders.set(instance, recorder);
    return recorder;
  }

  #serve(stop: () => void): void {
    const { socket } = labPaths(this.#lab);
    try {
      unlinkSync(socket);
    } catch {
      // Was not there.
    }
    this.#control = Bun.serve({
      unix: socket,
      routes: {
        "/v1/status": { GET: () => Response.json(this.#status()) },
        "/v1/pods": { GET: () => Response.json(this.#apiPods.status()) },
        "/v1/stop": {
          POST: () => {
            stop();
            return new Response(null, { status: 202 });
          },
        },
      },
      fetch: () => Response.json({ error: "not found" }, { status: 404 }),
      error: (error) => Response.json({ error: describeError(error) }, { status: 500 }),
    });
    chmodSync(socket, 0o600);
  }

  #predecessorOf({ namespace, name }: Pod): string | undefined {
    const owner = this.#left?.ownerOf(podNamespaceName(this.#lab, namespace, name));
    return owner === undefined ? undefined : `its predecessor is still attached to ${owner}`;
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  #changed(): void {
    if (this.#stopped) return;
    this.#recordTimer ??= setTimeout(() => {
      this.#recordTimer = undefined;
      this.#record();
    }, RECORD_AFTER_MS);
  }

  #record(): void {
    const processes: LabProcess[] = [];
    const add = (kind: LabProcess["kind"], name: string, p: ReturnType<typeof identify>): void => {
      if (p !== undefined) processes.push({ ...p, kind, name });
    };
    add("supervisor", this.#lab, identify(process.pid));
    add("server", this.#lab, this.#server.process.process);
    add("controller", this.#lab, this.#controller.process.process);
    for (const [name, agent] of this.#agents) add("agent", name, agent.process.process);
    for (const { name, process } of this.#pods.processes()) add("container", name, process.process);
    writeProcesses(this.#lab, processes);
  }
}
