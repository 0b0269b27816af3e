/**
 * Services of a cluster into tables: Services, EndpointSlices, ServiceCIDRs, and of Nodes and address pools what services
 * need: which addresses are pods, and whose.
 *
 * There may be tens of thousands of services, so rows are never told as a whole: each watch hands over its
 * differences. The first change after a rest is a commit at once, since a client may wait for it; of a burst, what comes
 * within a moment is one. Nothing is written before all have been listed: a first
 * state that lacked the slices would have every service rejected. ServiceCIDRs alone are not waited for beyond their
 * first answer, because an API server before 1.33 has none.
 *
 * What another proxy serves, or none (labels service-proxy-name and headless), is left with the server where the object
 * is a slice; of such Services a row stays, to tell why they are left alone.
 */
import { describeError, type Logger, silentLogger, systemClock, WeftError } from "@weft/base";
import type { Block, EndpointSlice, IpPool, Node, Service, ServiceRange } from "@weft/model";
import { readEndpointSlice } from "../endpoint-slice.ts";
import { type Fault, Field, faultText } from "../field.ts";
import { HEADLESS_LABEL, PROXY_NAME_LABEL } from "../metadata.ts";
import { blockCombiner } from "../pool-blocks.ts";
import { readService } from "../service.ts";
import { noNotes } from "../unhonoured.ts";
import { answered } from "./answered.ts";
import type { ApiClient } from "./http.ts";
import { watchPools } from "./pools-source.ts";
import { Kind, NODES_PER_PAGE, type Reading, readNodeObject, readRanges } from "./readings.ts";
import {
  ENDPOINT_SLICES,
  type KubernetesObject,
  NODES,
  pathOf,
  SERVICE_CIDRS,
  SERVICES,
} from "./resource.ts";
import { intoTable, type RowTable } from "./table.ts";
import {
  type ResourceWatch,
  type ResourceWatchOptions,
  type RowBatch,
  type WatchStatus,
  watchResource,
} from "./watch.ts";

/** Tables of one database. Nobody else may write to them. */
export interface ServiceTables {
  readonly services: RowTable<Service>;
  readonly slices: RowTable<EndpointSlice>;
  readonly nodes: RowTable<Node>;
  readonly pools: RowTable<IpPool>;
  readonly blocks: RowTable<Block> & { rows(): readonly Block[] };
  readonly ranges: RowTable<ServiceRange>;
}

export interface ServicesWatchOptions
  extends Pick<
    ResourceWatchOptions<never>,
    "pageSize" | "idleLimit" | "backoff" | "clock" | "random" | "onStatus"
  > {
  readonly client: ApiClient;
  readonly tables: ServiceTables;
  /** Runs what it is given in one transaction of the tables' database. */
  readonly write: (change: () => void) => void;
  readonly logger?: Logger;
  /** Milliseconds between commits, 20 by default: changes that come meanwhile are gathered. */
  readonly gather?: number;
}

export interface ServicesWatch {
  /** Resolves when the tables hold all that was listed; rejects when it is stopped before. */
  readonly ready: Promise<void>;
  status(): Readonly<Record<"services" | "slices" | "nodes" | "ranges" | "pools" | "blocks", WatchStatus>>;
  /** Objects that could not be read, each in a sentence; they keep the rows that they had. */
  errors(): readonly string[];
  stop(): Promise<void>;
}

/** Starts at once; never throws and never ends by itself. */
export function watchServices(options: ServicesWatchOptions): ServicesWatch {
  const { client, tables, write, gather = 20, logger = silentLogger, clock = systemClock } = options;
  const place = new URL(client.server).host;
  const nodes = new Kind(place, "Node", readNodeObject);
  const ranges = new Kind(place, "ServiceCIDR", readRanges);
  /** What the tables lack yet, in order. */
  let pending: (() => void)[] = [];
  let cancel: (() => void) | undefined;
  let synced = false;
  let flushedAt = Number.NEGATIVE_INFINITY;

  const flush = (): void => {
    cancel = undefined;
    const changes = pending;
    pending = [];
    try {
      write(() => {
        for (const change of changes) change();
      });
    } catch (error) {
      // Rows were checked as they were read, so this is a fault of ours: better the rows of before than none.
      logger.error("taking over the cluster's services failed", { error: describeError(error) });
    }
    flushedAt = clock.monotonic();
  };
  const later = (change: () => void): void => {
    pending.push(change);
    if (!synced) return;
    cancel ??= clock.setTimeout(flush, Math.max(0, flushedAt + gather - clock.monotonic()));
  };
  const start = <Row>(
    path: string,
    decode: ResourceWatchOptions<Row>["decode"],
    onChange: (batch: RowBatch<Row>) => void,
    more: { readonly labelSelector?: string; readonly pageSize?: number } = {},
  ): ResourceWatch =>
    watchResource<Row>({
      ...options,
      logger,
      path,
      decode,
      onChange,
      ...more,
    });
  const into = <Row>(table: RowTable<Row>) => {
    const take = intoTable(table);
    return (batch: RowBatch<Row>): void => later(() => take(batch));
  };
  const readingsOf = (kind: Kind, told: () => void) => (batch: RowBatch<Reading>) => {
    kind.take(batch);
    later(told);
  };

  const combine = blockCombiner();
  let blockErrors: readonly string[] = [];
  const blocks = (): void => {
    // Until they are listed, those that were known stay: the copy's.
    const rows = pools.complete
      ? [...pools.blocks.values()].map((b) => b.rows)
      : [tables.blocks.rows().filter((b) => b.pool !== undefined)];
    const all = combine(nodes.rows().blocks, rows);
    blockErrors = all.errors;
    if (pools.complete) tables.pools.replaceAll(pools.pools);
    tables.blocks.replaceAll(all.blocks);
  };
  const pools = watchPools({
    ...options,
    logger,
    onChange() {
      later(blocks);
    },
  });
  const watches = {
    services: start(pathOf(SERVICES), decodeService, into(tables.services)),
    slices: start(pathOf(ENDPOINT_SLICES), decodeSlice, into(tables.slices), { labelSelector: PROXIED }),
    nodes: start<Reading>(
      pathOf(NODES),
      (object, before) => nodes.read(object, before),
      readingsOf(nodes, () => {
        tables.nodes.replaceAll(nodes.rows().nodes);
        blocks();
      }),
      { pageSize: options.pageSize ?? NODES_PER_PAGE },
    ),
    ranges: start<Reading>(
      pathOf(SERVICE_CIDRS),
      (object, before) => ranges.read(object, before),
      readingsOf(ranges, () => tables.ranges.replaceAll(ranges.rows().serviceRanges)),
    ),
  };
  const needed = [watches.services, watches.slices, watches.nodes];
  const asked = [...needed.map((w) => w.ready), answered(watches.ranges, clock), pools.answered];
  const ready = Promise.all(asked).then(() => {
    synced = true;
    flush();
  });
  ready.catch(() => {});
  return {
    ready,
    status: () => ({
      services: watches.services.status(),
      slices: watches.slices.status(),
      nodes: watches.nodes.status(),
      ranges: watches.ranges.status(),
      ...pools.status(),
    }),
    errors() {
      const faults = (kind: string, watch: ResourceWatch): string[] =>
        [...watch.status().faults].map(([key, fault]) => `${place}: ${kind} ${key}: ${fault}`);
      return [
        ...faults("Service", watches.services),
        ...faults("EndpointSlice", watches.slices),
        ...nodes.rows().errors,
        ...ranges.rows().errors,
        ...pools.errors(),
        ...blockErrors,
      ];
    },
    async stop() {
      await Promise.all([...Object.values(watches), pools].map((w) => w.stop()));
      cancel?.();
    },
  };
}

const PROXIED = `!${HEADLESS_LABEL},!${PROXY_NAME_LABEL}`;

const decodeService = (object: KubernetesObject): Service =>
  whole(object, (field) => readService(field, noNotes()));
const decodeSlice = (object: KubernetesObject): EndpointSlice | undefined =>
  whole(object, (field) => readEndpointSlice(field, noNotes()));

/** Throws "invalid" with every fault of the whole object; faults of its parts are in the row. */
function whole<Row>(object: KubernetesObject, read: (field: Field) => Row): Row {
  const faults: Fault[] = [];
  const row = read(new Field(object, [], faults));
  if (faults.length === 0) return row;
  throw new WeftError("invalid", faults.map(faultText).join("; "));
}
