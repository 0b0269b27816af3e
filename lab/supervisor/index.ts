/**
 * The supervisor: one process for each lab, for as long as the lab is up.
 *
 *   manifests/ --watchDirectory--> Pods --schedule--> PodRunner --CNI--> NodeNetwork (one a node)
 *       services and their slices in there are read by the agents themselves
 *                                                        |
 *   Agent (one a node) --ready-----------------> KeepRunning (containers)
 *
 *   lab.sock   GET /v1/status   GET /v1/pods   POST /v1/stop
 *
 * Its children are recorded in processes.json. One that was killed leaves them behind; the next supervisor ends
 * them, runs CNI DEL for every attachment in the nodes' caches, and starts the pods anew.
 */
import { chmodSync, unlinkSync } from "node:fs";
import { resolve } from "node:path";
import { createLogger, describeError, fdWriter, type Logger, systemClock, WeftError } from "@weft/base";
import { type DirectoryWatch, watchDirectory } from "@weft/cluster";
import type { Pod } from "@weft/model";
import type { LabOptions } from "../options.ts";
import { identify } from "../processes.ts";
import { type LabProcess, labPaths, readRecord, writeProcesses } from "../state.ts";
import type { LabStatus } from "../status.ts";
import { type PlannedNode, planTopology, podNamespaceName } from "../topology.ts";
import { Agent } from "./agents.ts";
import { endLeftProcesses, LeftNamespaces } from "./leftovers.ts";
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

/** The program `weft lab supervise --name NAME`: runs until SIGTERM or POST /v1/stop. Throws "not-found". */
export async function runSupervisor(lab: string, executable: string): Promise<void> {
  const record = readRecord(lab);
  if (record === undefined) {
    throw new WeftError("not-found", `there is no lab "${lab}"`, { hint: "Make it with weft lab up." });
  }
  const supervisor = new Supervisor(lab, record.options, executable, createLogger(fdWriter(2)));
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
  readonly #executable: string;
  readonly #manifests: string;
  readonly #logger: Logger;
  readonly #startedAt = Date.now();
  readonly #agents: ReadonlyMap<string, Agent>;
  readonly #pods: Pods;
  #left: LeftNamespaces | undefined;
  #sourceErrors: readonly string[] = [];
  #sourceWarnings: readonly string[] = [];
  #watch: DirectoryWatch | undefined;
  #unmanage: (() => void) | undefined;
  #server: Bun.Server<undefined> | undefined;
  #recordTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(lab: string, options: LabOptions, executable: string, logger: Logger) {
    this.#lab = lab;
    this.#labOptions = options;
    this.#executable = executable;
    this.#logger = logger;
    const clock = systemClock;
    this.#manifests = resolve(options.manifests ?? labPaths(lab).manifests);
    const changed = (): void => this.#changed();
    const agent = (node: PlannedNode): Agent =>
      new Agent(new NodeNetwork(lab, node), {
        lab,
        executable,
        manifests: this.#manifests,
        clock,
        logger,
        changed,
        askEveryMs: Math.max(ASK_EVERY_MS, options.nodes * ASK_PER_NODE_MS),
        collected: () => this.#left?.release(node.name),
      });
    this.#agents = new Map(planTopology(options).nodes.map((node) => [node.name, agent(node)]));
    this.#pods = new Pods(new Map([...this.#agents].map(([name, a]) => [name, a.network])), {
      lab,
      executable,
      clock,
      limit: new Limit(ATTACH_AT_ONCE),
      changed,
      notReady: (node, pod) => this.#agents.get(node)?.notReadyForPods ?? this.#predecessorOf(pod),
    });
  }

  async start(stop: () => void): Promise<void> {
    await endLeftProcesses(this.#lab, this.#logger);
    const nodes = [...this.#agents].map(([name, a]) => ({ name, cached: a.network.cachedNamespaces() }));
    this.#left = new LeftNamespaces(this.#lab, nodes);
    this.#record();
    this.#serve(stop);
    this.#unmanage = manageUnderlay(planTopology(this.#labOptions), this.#logger);
    for (const agent of this.#agents.values()) agent.start();
    this.#watch = watchDirectory(this.#manifests, (rows) => {
      this.#sourceErrors = rows.errors;
      this.#sourceWarnings = rows.warnings;
      for (const error of rows.errors) this.#logger.error("manifest", { error });
      for (const warning of rows.warnings) this.#logger.warn("manifest", { warning });
      this.#pods.update(rows.pods);
    });
    this.#logger.info("lab is supervised", { lab: this.#lab, executable: this.#executable });
  }

  /** Stops containers and agents; namespaces and files stay for `down`, or for the next supervisor. */
  async stop(): Promise<void> {
    this.#watch?.stop();
    this.#unmanage?.();
    await this.#pods.stop();
    await Promise.all([...this.#agents.values()].map((agent) => agent.stop()));
    for (const agent of this.#agents.values()) agent.network.close();
    clearTimeout(this.#recordTimer);
    writeProcesses(this.#lab, []);
    await this.#server?.stop(true);
    this.#logger.info("lab is not supervised any more", { lab: this.#lab });
  }

  #status(): LabStatus {
    return {
      name: this.#lab,
      options: this.#labOptions,
      supervisor: { pid: process.pid, startedAt: this.#startedAt },
      nodes: [...this.#agents.values()].map((agent) => agent.status()),
      pods: this.#pods.status(),
      sourceErrors: this.#sourceErrors,
      sourceWarnings: this.#sourceWarnings,
    };
  }

  #serve(stop: () => void): void {
    const { socket } = labPaths(this.#lab);
    try {
      unlinkSync(socket);
    } catch {
      // Was not there.
    }
    this.#server = Bun.serve({
      unix: socket,
      routes: {
        "/v1/status": { GET: () => Response.json(this.#status()) },
        "/v1/pods": { GET: () => Response.json(this.#pods.status()) },
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

  #changed(): void {
    this.#recordTimer ??= setTimeout(() => {
      this.#recordTimer = undefined;
      this.#record();
    }, RECORD_AFTER_MS);
  }

  #record(): void {
    const self = identify(process.pid);
    const processes: LabProcess[] =
      self === undefined ? [] : [{ ...self, kind: "supervisor", name: this.#lab }];
    for (const [name, agent] of this.#agents) {
      const p = agent.process.process;
      if (p !== undefined) processes.push({ ...p, kind: "agent", name });
    }
    for (const { name, process } of this.#pods.processes()) {
      if (process.process !== undefined) processes.push({ ...process.process, kind: "container", name });
    }
    writeProcesses(this.#lab, processes);
  }
}
