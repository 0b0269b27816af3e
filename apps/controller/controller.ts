/**
 * The controller: all of its wiring.
 *
 *   Nodes --watch--> rows --+                                     +--> condition NetworkUnavailable
 *                           +--> queue of nodes --> wantedOf() ---+--> start-up taint removed
 *   agents' pods --watch--> +       ^                             +--> event
 *                                   +--- grace over, write failed: look again later
 *
 *   IPPools, IPBlocks, ServiceCIDRs, Nodes --watch--> PoolKeeper (pools/pool-keeper.ts has its own drawing)
 *
 * Several run; the holder of the lease does this, the others wait. Whoever begins to lead reads everything anew and
 * writes only what is different, so a change of leaders changes nothing. How long an agent has not been ready counts
 * from when this leader first saw it: a new leader gives every node the whole grace again.
 */
import { type Clock, describeError, isNotFound, type Logger, systemClock } from "@weft/base";
import {
  type ApiClient,
  getObject,
  IP_BLOCKS,
  IP_POOLS,
  type KubernetesObject,
  LEASES,
  NODES,
  PODS,
  pathOf,
  type Resource,
  type ResourceWatch,
  type RowBatch,
  runLeaderElection,
  SERVICE_CIDRS,
  watchResource,
} from "@weft/cluster/client";
import { type AgentPod, decodeNode, decodePod } from "./decode.ts";
import { NodeKeeper } from "./keeper.ts";
import { controllerMetrics, serveMetrics } from "./metrics.ts";
import type { NodeRow } from "./node-state.ts";
import { decodeBlockRow, decodePoolRow, serviceRanges } from "./pools/decode.ts";
import { PoolKeeper } from "./pools/pool-keeper.ts";

export interface ControllerOptions {
  readonly client: ApiClient;
  /** Where the agents' pods and the lease are. */
  readonly namespace: string;
  /** Unique among the controllers: the pod's name. */
  readonly identity: string;
  /** Milliseconds that an agent may be away before its node is declared to be without a network. */
  readonly grace: number;
  readonly logger: Logger;
  /** Milliseconds after which blocks of a node that is not there go back to their pools. */
  readonly nodeGone: number;
  /** Ends it; a lease that is held is released. */
  readonly signal: AbortSignal;
  readonly clock?: Clock;
  /** Hears why the API server cannot be used, whenever that changes; undefined once it could, and then no more. */
  readonly onContact?: (fault: string | undefined) => void;
  /** Where GET /metrics is answered; nowhere by default. Port 0: any that is free, for tests. */
  readonly metrics?: { readonly host: string; readonly port: number };
  /** Times of the election, for tests. */
  readonly election?: { leaseDuration: number; renewDeadline: number; retryPeriod: number };
}

export const LEASE = "weft-controller";
export const AGENT_SELECTOR = "app.kubernetes.io/name=weft,app.kubernetes.io/component=agent";

const RETRY_MS = 2000;
const CONTACT_MS = 5000;

/** Takes part in the election, and works while it leads. Resolves when the signal has ended it. */
export async function runController(options: ControllerOptions): Promise<void> {
  const { client, namespace, identity, logger, signal, clock, election, metrics } = options;
  let leading: PoolKeeper | undefined;
  const text = (): string => controllerMetrics(leading?.gauges());
  // Before anything else: a place that cannot be listened on is a fault of whoever named it.
  const server = metrics === undefined ? undefined : serveMetrics(metrics, text, logger);
  await contact(options);
  await runLeaderElection({
    client,
    namespace,
    name: LEASE,
    identity,
    signal,
    logger,
    ...(clock === undefined ? {} : { clock }),
    ...election,
    onNewLeader: (leader) => logger.info("the leader is", { leader }),
    onStart: (still) =>
      lead(options, still, (pools) => {
        leading = pools;
      }),
  });
  await server?.stop();
}

/** Waits until the lease can be read, or is not there yet: with that the server, its certificate and the rights are right. */
async function contact({
  client,
  namespace,
  logger,
  signal,
  onContact,
  clock,
}: ControllerOptions): Promise<void> {
  let told = "";
  while (!signal.aborted) {
    let fault: string | undefined;
    try {
      await getObject(client, LEASES, { namespace, name: LEASE }, { signal, timeout: CONTACT_MS });
    } catch (error) {
      if (signal.aborted) return;
      if (!isNotFound(error)) fault = describeError(error);
    }
    if (fault === undefined) return onContact?.(undefined);
    if (fault !== told) {
      logger.warn("the API server cannot be used", { error: fault });
      onContact?.(fault);
      told = fault;
    }
    await new Promise<void>((resolve) => (clock ?? systemClock).setTimeout(resolve, RETRY_MS));
  }
}

/** Until the signal. `tell` hears of the keeper of pools, and that there is none any more. */
async function lead(
  options: ControllerOptions,
  signal: AbortSignal,
  tell: (pools: PoolKeeper | undefined) => void,
): Promise<void> {
  const { client, namespace, logger, clock = systemClock } = options;
  const nodes = new Map<string, NodeRow>();
  const pods = new Map<string, AgentPod>();
  const keeper = new NodeKeeper(options, signal, nodes, (name) =>
    [...pods.values()].some((p) => p.node === name && p.ready),
  );
  const pools = new PoolKeeper(options, signal, nodes);
  tell(pools);
  const nodeWatch = watchResource<NodeRow>({
    client,
    path: pathOf(NODES),
    decode: decodeNode,
    clock,
    logger,
    onChange({ reset, changes }) {
      if (reset) nodes.clear();
      for (const { key, after } of changes) {
        if (after === undefined) nodes.delete(key);
        else nodes.set(key, after);
        keeper.look(key);
      }
      pools.nodesChanged(reset ? undefined : changes.map((c) => c.key));
    },
  });
  const podWatch = watchResource<AgentPod>({
    client,
    path: pathOf(PODS, { namespace }),
    labelSelector: AGENT_SELECTOR,
    decode: decodePod,
    clock,
    logger,
    onChange({ reset, changes }) {
      const touched = new Set(changes.flatMap((c) => [c.before?.node, c.after?.node]));
      if (reset) {
        for (const { node } of pods.values()) touched.add(node);
        pods.clear();
      }
      for (const { key, after } of changes) {
        if (after === undefined) pods.delete(key);
        else pods.set(key, after);
      }
      for (const node of touched) if (node !== undefined) keeper.look(node);
    },
  });
  // Nothing is judged before both are complete: half a reading has nodes without agents.
  void Promise.all([nodeWatch.ready, podWatch.ready]).then(
    () => keeper.start(),
    () => {},
  );
  const stopPools = watchForPools(options, pools, nodeWatch.ready);
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
  tell(undefined);
  await Promise.all([nodeWatch.stop(), podWatch.stop(), keeper.stop(), stopPools()]);
}

/** How often a kind is looked for that the server does not know, in milliseconds. */
const KIND_EVERY_MS = 20_000;
const BLOCKS_PER_PAGE = 100;

/** Nothing is judged before all of it is complete: what is missing may be what a pool overlaps. */
function watchForPools(
  { client, logger, clock = systemClock }: ControllerOptions,
  keeper: PoolKeeper,
  nodes: Promise<void>,
): () => Promise<void> {
  const start = <Row>(
    resource: Resource,
    decode: (object: KubernetesObject) => Row,
    onChange: (batch: RowBatch<Row>) => void,
    pageSize?: number,
  ): ResourceWatch =>
    watchResource<Row>({
      client,
      path: pathOf(resource),
      decode,
      onChange,
      clock,
      logger,
      optional: { every: KIND_EVERY_MS },
      ...(pageSize === undefined ? {} : { pageSize }),
    });
  const watches = [
    start(IP_POOLS, decodePoolRow, (batch) => keeper.takePools(batch)),
    start(IP_BLOCKS, decodeBlockRow, (batch) => keeper.takeBlocks(batch), BLOCKS_PER_PAGE),
    start(SERVICE_CIDRS, serviceRanges, (batch) => keeper.takeServices(batch)),
  ];
  void Promise.all([nodes, ...watches.map((w) => w.ready)]).then(
    () => keeper.start(),
    () => {},
  );
  return async () => {
    await Promise.all([...watches.map((w) => w.stop()), keeper.stop()]);
  };
}
