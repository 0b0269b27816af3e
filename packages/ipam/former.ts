/** Who had an address before: the last holders of a ledger's addresses, so many that it stays small. */
import type { Database } from "bun:sqlite";
import type { IpAddress } from "@weft/base";
import type { Workload } from "@weft/model";

/** How many leases that have ended are remembered, over all addresses: 1 MB on disk at most. */
export const REMEMBERED_HOLDERS = 4096;

/** A lease that has ended. */
export interface FormerHolder {
  readonly address: IpAddress;
  readonly podNamespace: string | undefined;
  readonly podName: string | undefined;
  readonly podUid: string | undefined;
  readonly containerId: string;
  readonly interface: string;
  /** Name of the node's end of the pair that led to it. */
  readonly hostLink: string;
  /** Milliseconds since the epoch: when it got the address, and when that was free again. */
  readonly since: number;
  readonly until: number;
  /** Undefined: the runtime deleted it. */
  readonly why: string | undefined;
}

type Row = {
  address: IpAddress;
  pod_namespace: string | null;
  pod_name: string | null;
  pod_uid: string | null;
  container_id: string;
  interface: string;
  host_link: string;
  since: number;
  until: number;
  why: string | null;
};

export class SqliteFormer {
  readonly #s: ReturnType<typeof prepare>;
  readonly #most: number;

  constructor(database: Database, most = REMEMBERED_HOLDERS) {
    this.#s = prepare(database);
    this.#most = most;
  }

  /** Inside of the transaction that frees its addresses. */
  remember(workload: Workload, until: number, why: string | undefined): void {
    for (const address of workload.addresses) {
      this.#s.add.run({
        address,
        pod_namespace: workload.podNamespace ?? null,
        pod_name: workload.podName ?? null,
        pod_uid: workload.podUid ?? null,
        container_id: workload.containerId,
        interface: workload.interface,
        host_link: workload.hostLink,
        since: workload.since,
        until,
        why: why ?? null,
      });
    }
    this.#s.forget.run(this.#most);
  }

  /** The latest first; of one address, or of all. */
  list(address: IpAddress | undefined, most: number): FormerHolder[] {
    const rows = address === undefined ? this.#s.all.all(most) : this.#s.of.all(address, most);
    return rows.map(toHolder);
  }

  ofLink(hostLink: string): FormerHolder | undefined {
    const row = this.#s.ofLink.get(hostLink);
    return row === null ? undefined : toHolder(row);
  }
}

const toHolder = (row: Row): FormerHolder => ({
  address: row.address,
  podNamespace: row.pod_namespace ?? undefined,
  podName: row.pod_name ?? undefined,
  podUid: row.pod_uid ?? undefined,
  containerId: row.container_id,
  interface: row.interface,
  hostLink: row.host_link,
  since: row.since,
  until: row.until,
  why: row.why ?? undefined,
});

function prepare(db: Database) {
  return {
    add: db.query<void, Row>(
      `INSERT INTO former (address, pod_namespace, pod_name, pod_uid, container_id, interface, host_link, since, until, why)
       VALUES ($address, $pod_namespace, $pod_name, $pod_uid, $container_id, $interface, $host_link, $since, $until, $why)`,
    ),
    forget: db.query<void, [number]>(
      "DELETE FROM former WHERE number <= (SELECT max(number) FROM former) - ?",
    ),
    all: db.query<Row, [number]>("SELECT * FROM former ORDER BY number DESC LIMIT ?"),
    of: db.query<Row, [string, number]>(
      "SELECT * FROM former WHERE address = ? ORDER BY number DESC LIMIT ?",
    ),
    ofLink: db.query<Row, [string]>("SELECT * FROM former WHERE host_link = ? ORDER BY number DESC LIMIT 1"),
  };
}
