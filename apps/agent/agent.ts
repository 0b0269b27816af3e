/**
 * The node agent: all of its wiring.
 *
 *   manifests, settings --> cluster thread (worker): model tables -> fabric compiler
 *                                |  facts: rows, paths, problems, context            ^ underlay
 *                                v                                                   |
 *   CNI plugin --socket--> Attachments --> ledger <-- Pools --> API server     kernel links
 *                                |                                                   |
 *                                v                                                   |
 *                            PodPlan --rows--> Plan <--rows-- FabricState            |
 *                                                |                                   |
 *                                                v                                   |
 *                                       reconcilers --> kernel --events--> DriftWatch
 *
 *   ledger, kernel, pods of the API --> Audit: what is held for nobody --> status, events
 *
 *   settings --> services thread (worker): services -> compiler -> a plan and reconcilers of its own --> kernel
 *
 * Order of the start: no other agent on this node, ledger, what the last agent left half done, context from the
 * cluster thread, first comparison with the kernel, queued deletions, a block of each family that a pool applies to,
 * conflist. Only then is an ADD taken.
 */
import { mkdirSync } from "node:fs";
import { release } from "node:os";
import { dirname } from "node:path";
import { createPlan, SERVICES_TABLE } from "@weft/apply";
import { createLogger, describeError, fdWriter, type Logger, systemClock } from "@weft/base";
import { CniError, OWN_CODE } from "@weft/cni";
import { openLedger } from "@weft/ipam";
import { openKernel } from "@weft/kernel";
import type { PlanKind } from "@weft/model";
import { dequeue, queued, sweep } from "@weft/plugin-weft";
import { setAside } from "./aside.ts";
import { Attachments } from "./attachments.ts";
import { Audit } from "./audit/audit.ts";
import { Orphans } from "./audit/orphans.ts";
import { release as releaseByHand } from "./audit/release.ts";
import { addressReport } from "./audit/report.ts";
import { writeConflist } from "./conflist.ts";
import { watchDrift } from "./drift-watch.ts";
import { execute } from "./execute.ts";
import { FabricState } from "./fabric-state.ts";
import { KnownPods } from "./known-pods.ts";
import type { FromCluster, ToCluster } from "./messages.ts";
import { MetricsListener, metricsResponse } from "./metrics/listener.ts";
import { agentMetrics, CniCounts } from "./metrics/metrics.ts";
import { beAlone } from "./only-one.ts";
import type { AgentOptions } from "./options.ts";
import { PodPlan } from "./pod-plan.ts";
import { Pools } from "./pools/pools.ts";
import { probeVxlan } from "./probe.ts";
import { Readiness } from "./readiness.ts";
import { addRequest, attachmentRequest, gcRequest, pauseRequest, releaseRequest } from "./requests.ts";
import { serveSocket } from "./server.ts";
import { ServicesThread } from "./services-client.ts";
import { serviceRoutes } from "./services-routes.ts";
import { agentStatus } from "./status.ts";
import { probeCapabilities, readUnderlay } from "./underlay.ts";
import { VERSION } from "./version.ts";

/** Time that one ADD may take, waiting for a starting agent included in neither. */
const ADD_DEADLINE_MS = 60_000;
/** Kinds that are few on every node, and of whose changes the kernel does not tell, or not all. */
const UNHEARD: ReadonlySet<PlanKind> = new Set(["tunnel", "address", "rule", "sysctl"]);
/**
 * How often everything of a kind is compared with the kernel, events or none. The others are told of by events, and
 * are some for every other node or pod; those inside of pods cost dumps for each pod.
 */
const REPAIR_MS = (kind: PlanKind): number =>
  UNHEARD.has(kind) ? 4_000 : kind === "attachment" ? 60_000 : 30_000;
/** How often the deletion queue is looked at, and gone namespaces are searched for. */
const HOUSEKEEPING_MS = 3_000;

export interface RunningAgent {
  stop(): Promise<void>;
}

export async function startAgent(
  options: AgentOptions,
  logger: Logger = createLogger(fdWriter(2)),
): Promise<RunningAgent> {
  const startedAt = Date.now();
  logger.info("starting", { version: VERSION, node: options.node, pid: process.pid });
  const kernel = openKernel(options.sysctls === undefined ? {} : { sysctls: options.sysctls });
  const letGo = await beAlone(dirname(options.socket), logger);
  mkdirSync(dirname(options.ledger), { recursive: true, mode: 0o700 });
  const ledger = openLedger(options.ledger);
  if (ledger.rebooted) forgetOldBoot();

  const plan = createPlan({
    kernel,
    clock: systemClock,
    logger,
    repairInterval: REPAIR_MS,
    onPrune: (kind, key) => audit.pruning(kind, key),
  });
  const services = new ServicesThread({
    node: options.node,
    source: options.source,
    copy: options.servicesCopy,
    hasLeftovers: () => kernel.nftables.tableExists("inet", SERVICES_TABLE),
    logger,
  });
  const known = new KnownPods();
  const pods = new PodPlan(plan, known);
  const readiness = new Readiness(
    () => fabric.problems()[0],
    () => fabric.sourceState,
    () => pools.waitingFor,
  );
  const fabric = new FabricState(plan, (context) => {
    pods.setContext(context);
    pools.contextChanged();
    offerMetrics();
    readiness.contextKnown();
  });
  const pools = new Pools({
    node: options.node,
    source: options.source,
    ledger,
    known,
    context: () => pods.context,
    post: (message) => toCluster(message),
    logger,
  });
  const leakGrace = (): number => fabric.settings.ipam.leakGrace;
  const orphans = new Orphans({ pods: known, clock: systemClock, grace: () => leakGrace() * 1000 });
  const attachments = new Attachments({
    kernel,
    ledger,
    plan,
    pods,
    orphans,
    onReclaimed: (workload, code) => audit.reclaimed(workload, code),
    pools,
    logger,
    lost: () => fabric.lost(),
    deadline: ADD_DEADLINE_MS,
  });

  // What was answered stays; the rest was never promised to anybody, and is taken back by collect().
  pods.set(
    ledger
      .workloads()
      .filter((w) => w.state === "ready")
      .map((w) => w.workload),
  );

  let pausedUntil = 0;
  const paused = (): boolean => Date.now() < pausedUntil;
  const pause = (milliseconds: number): void => {
    pausedUntil = Date.now() + milliseconds;
    if (milliseconds > 0) plan.applier.pause(milliseconds);
    else plan.applier.resume();
    // Falls due when the pause ends, by itself too: what is changed meanwhile causes no repair of its own.
    plan.applier.requestRepair();
    services.pause(milliseconds);
    logger.info(milliseconds > 0 ? "repair is paused" : "repair goes on", { milliseconds });
  };
  const audit = new Audit({
    node: options.node,
    kernel,
    ledger,
    orphans,
    clock: systemClock,
    logger,
    leakGrace,
    context: () => pods.context,
    paused,
    busy: (id) => attachments.busy(id),
    stuck: () => attachments.stuck,
    blocks: () => pools.blocks,
    repairLinks: () => plan.kinds.find((k) => k.kind === "attachment")?.reconciler.requestRepair(),
    record: (event) => toCluster({ type: "event", event }),
  });

  const cluster = new Worker(new URL("./cluster-thread.ts", import.meta.url).href);
  const toCluster = (message: ToCluster): void => cluster.postMessage(message);
  cluster.onmessage = (event: MessageEvent<FromCluster>) => hear(event.data);
  cluster.onerror = (event) => {
    logger.error("the cluster thread failed", { error: event.message });
    process.exit(70);
  };

  const status = async (): Promise<unknown> =>
    agentStatus({
      node: options.node,
      startedAt,
      kernel,
      plan,
      pods,
      ledger,
      fabric,
      known,
      pools,
      waitingFor: () => readiness.waitingFor,
      pausedUntil: () => (paused() ? pausedUntil : undefined),
      services: await services.status(),
      audit,
      metrics: listener.status(),
    });
  const counts = new CniCounts();
  const metrics = (): string =>
    agentMetrics(
      {
        version: VERSION,
        node: options.node,
        ready: readiness.waitingFor === undefined,
        ranges: audit.ranges(),
        workloads: pods.workloads().length,
        audit: audit.status(),
      },
      counts,
    );
  const listener = new MetricsListener(metrics, logger);
  const offerMetrics = (): void =>
    listener.want(fabric.settings.metrics, Object.values(pods.context?.sources ?? {}));
  const routes = counts.counting({
    "POST /v1/cni/add": async (body, signal) => {
      const request = addRequest(body);
      await readiness.wait();
      // A deletion that was queued came before this, whatever it deletes.
      await drainQueue();
      return attachments.add(request, signal);
    },
    "POST /v1/cni/del": async (body) => {
      await attachments.del(attachmentRequest(body));
      return {};
    },
    "POST /v1/cni/check": async (body) => {
      const request = attachmentRequest(body);
      await readiness.wait();
      await attachments.check(request);
      return {};
    },
    "POST /v1/cni/gc": async (body) => {
      await attachments.gc(gcRequest(body));
      return {};
    },
    "POST /v1/cni/status": async () => {
      const reason = readiness.waitingFor;
      if (reason !== undefined) throw new CniError(OWN_CODE.nodeNotReady, reason);
      return {};
    },
    "POST /v1/alive": async () => ({}),
    "GET /v1/status": () => status(),
    "GET /v1/drift": async () => [
      ...(await plan.drift(options.node)),
      // Those that somebody else serves, or nobody, cannot drift.
      ...(await services.ask({ about: "drift" }).catch(() => [])),
    ],
    ...serviceRoutes(services),
    "GET /v1/ipam": async () =>
      addressReport({
        node: options.node,
        clock: systemClock,
        ledger,
        named: (w) => known.named(w),
        ranges: audit.ranges(),
        findings: audit.status().findings,
      }),
    "POST /v1/ipam/release": (body) =>
      releaseByHand(releaseRequest(body), {
        node: options.node,
        ledger,
        known,
        namespaceStands: (w) => attachments.namespaceStands(w),
        reclaim: (id, code) => attachments.reclaim(id, code),
        now: () => Date.now(),
        grace: leakGrace() * 1000,
      }),
    "GET /metrics": async () => metricsResponse(metrics()),
    "POST /v1/pause": async (body) => {
      pause(pauseRequest(body));
      return { pausedUntil: paused() ? pausedUntil : undefined };
    },
  });
  const server = serveSocket(options.socket, routes, (e, signal) => execute(e, routes, signal), logger);

  const refreshUnderlay = (): void => toCluster({ type: "underlay", links: readUnderlay(kernel.self) });
  // From the start: it may be the underlay that keeps the node from being ready.
  const stopDrift = watchDrift({
    kernel,
    plan,
    pods,
    clock: systemClock,
    logger,
    onUnderlay: refreshUnderlay,
    onPodLink: () => {
      if (readiness.ready) void attachments.collect();
    },
    enabled: () => readiness.hasContext && !paused(),
  });
  let housekeeping: ReturnType<typeof setInterval> | undefined;
  let tidying = false;
  /** Why the last turn was not complete. */
  let untidy: string | undefined;
  toCluster({
    type: "start",
    node: options.node,
    source: options.source,
    settingsFile: options.settingsFile,
    lastSettingsFile: options.lastSettings,
    capabilities: probeCapabilities(release(), probeVxlan(kernel.self)),
    underlay: readUnderlay(kernel.self),
  });
  readiness.onContext(() => void begin().catch(fail));

  function hear(message: FromCluster): void {
    if (message.type === "facts") fabric.take(message);
    else if (message.type === "settings") {
      fabric.settings = message.settings;
      fabric.settingsError = message.error;
      services.settings(message.settings);
      offerMetrics();
      if (message.error !== undefined) logger.warn("settings are not taken over", { error: message.error });
    } else if (message.type === "source-errors") {
      fabric.sourceErrors = message.errors;
      for (const error of message.errors) logger.warn("bad manifest", { error });
    } else if (message.type === "source-state") fabric.sourceState = message.state;
    else if (message.type === "pods") {
      known.take(message.pods, message.current);
      pods.rename();
    } else if (message.type === "log") logger.log(message.level, message.message);
    else pools.hear(message);
  }

  /** The first context is there, and with it a whole plan: now the kernel may be compared with it. */
  async function begin(): Promise<void> {
    await plan.ensureSkeletons();
    plan.applier.start();
    await plan.applier.settled();
    await attachments.collect();
    await drainQueue();
    readiness.compared();
    audit.start();
    housekeeping = setInterval(() => {
      if (readiness.ready) offer();
      void tidy();
    }, HOUSEKEEPING_MS);
    await pools.served();
    // Before it is said to be ready: whoever waits for that finds pods' network to be ours.
    offer();
    readiness.begun();
    logger.info("ready", { workloads: pods.workloads().length, milliseconds: Date.now() - startedAt });
  }

  /** One turn at a time: a deletion may have to wait for an ADD. What fails is done again, and told when it is news. */
  async function tidy(): Promise<void> {
    if (tidying) return;
    tidying = true;
    let fault: string | undefined;
    try {
      await drainQueue();
      await attachments.collect();
      sweep(options.queue, Date.now());
    } catch (error) {
      fault = describeError(error);
      if (fault !== untidy) logger.error("not all could be tidied up", { error: fault });
    }
    untidy = fault;
    tidying = false;
  }

  /** Without the network configuration no runtime comes: until it can be written, it is tried again. */
  function offer(): void {
    try {
      writeConflist(options);
      const aside = pods.context?.exclusive === true ? setAside(options.conflist) : [];
      if (aside.length > 0)
        logger.info("other networks' configurations are set aside", { files: aside.join(" ") });
    } catch (error) {
      logger.error("cannot write the network configuration", {
        file: options.conflist,
        error: describeError(error),
      });
    }
  }

  /** Nothing can be served: whoever started us starts us again. */
  function fail(error: unknown): never {
    logger.error("the start failed", { error: describeError(error) });
    process.exit(70);
  }

  async function drainQueue(): Promise<void> {
    for (const { file, request } of queued(options.queue)) {
      try {
        if (request === undefined) logger.warn("a queued deletion cannot be read and is dropped", { file });
        else await attachments.del(request);
        dequeue(file);
      } catch (error) {
        logger.warn("a queued deletion stays queued", { file, error: describeError(error) });
      }
    }
  }

  /** Another boot: every namespace of the ledger is gone, whatever its path names now. */
  function forgetOldBoot(): void {
    for (const { workload } of ledger.workloads()) ledger.release(workload.id);
    logger.info("the machine was rebooted: attachments of the last boot are forgotten");
  }

  return {
    async stop() {
      clearInterval(housekeeping);
      audit.stop();
      await listener.stop();
      stopDrift();
      await server.stop();
      cluster.terminate();
      await services.stop();
      await pools.stop();
      await plan.applier.stop();
      ledger.close();
      letGo();
      logger.info("stopped");
    },
  };
}
