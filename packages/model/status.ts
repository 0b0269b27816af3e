/** What an agent says of itself: the answer to GET /v1/status on its socket. */
import type { IpAddress, Prefix } from "@weft/base";
import type { AuditStatus } from "./audit.ts";
import type { NodeContext, Origin, UnderlayLink, Workload } from "./nouns.ts";
import type { PeerPath, PlanKind, Problem } from "./plan.ts";
import type { ServicesStatus } from "./service-status.ts";
import type { Settings } from "./settings.ts";

export interface RowStatus {
  readonly key: string;
  readonly state: "pending" | "done" | "error";
  readonly error: string | undefined;
  readonly attempts: number;
  /** Milliseconds since the epoch of the last change of state. */
  readonly since: number;
  readonly origin: Origin;
  /** The row itself, for `--json` and `status --rows`. */
  readonly row: unknown;
}

export interface PlanTableStatus {
  readonly kind: PlanKind;
  readonly rows: number;
  readonly done: number;
  readonly pending: number;
  readonly errors: number;
  readonly lastError: string | undefined;
  /** Drifted rows put right, and leftovers removed, since the agent started. */
  readonly repaired: number;
  readonly pruned: number;
  readonly items: readonly RowStatus[];
}

/** A base chain of somebody else's that can drop forwarded packets: an accept of ours does not override it. */
export interface ForeignChain {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly hook: string;
  readonly priority: number;
  readonly policy: string | undefined;
  readonly hasDropRules: boolean;
}

/** What a node has of address pools. */
export interface PoolsStatus {
  /** False in a cluster without pools. */
  readonly enabled: boolean;
  /** False while the API server is away: pods get addresses of the node's own blocks alone. */
  readonly current: boolean;
  readonly blocks: readonly {
    readonly prefix: Prefix;
    readonly pool: string;
    /** closed: it is going back. lost: another node has it, or nobody. */
    readonly state: "open" | "closed" | "lost";
    readonly used: number;
    readonly free: number;
    readonly tunnelAddress: IpAddress | undefined;
    readonly lent: readonly {
      readonly address: IpAddress;
      readonly node: string;
      readonly pod: string | undefined;
    }[];
  }[];
  /** Single addresses of other nodes' blocks. */
  readonly borrowed: readonly {
    readonly address: IpAddress;
    readonly pool: string;
    readonly block: Prefix;
    readonly lender: string | undefined;
    readonly state: "open" | "closed" | "lost";
    readonly used: boolean;
    readonly pod: string | undefined;
  }[];
  readonly waitingFor: string | undefined;
  readonly problems: readonly string[];
}

export interface AgentStatus {
  readonly version: string;
  readonly node: string;
  readonly pid: number;
  readonly startedAt: number;
  readonly ready: boolean;
  /** Why it is not ready, in one sentence. */
  readonly waitingFor: string | undefined;
  /** Repair is suspended until then (milliseconds since the epoch). */
  readonly pausedUntil: number | undefined;
  readonly settings: Settings;
  /** Why the settings on disk are not the ones in force, if they are not. */
  readonly settingsError: string | undefined;
  readonly context: NodeContext | undefined;
  readonly underlay: readonly UnderlayLink[];
  readonly peers: readonly PeerPath[];
  readonly workloads: readonly Workload[];
  readonly plan: readonly PlanTableStatus[];
  readonly problems: readonly Problem[];
  readonly foreignChains: readonly ForeignChain[];
  /** Addresses by block: how many are in use of how many. */
  readonly blocks: readonly { readonly prefix: string; readonly used: number; readonly size: number }[];
  /** Resident memory in bytes and CPU seconds used so far. */
  readonly memory: number;
  readonly cpuSeconds: number;
  /** Where the cluster's state comes from, and whether that answers. */
  readonly source: string;
  /** Bad manifests and the like, each with its file. */
  readonly sourceErrors: readonly string[];
  readonly services: ServicesStatus;
  /** Absent where the cluster's state comes from a directory. */
  readonly pools?: PoolsStatus;
  /** Absent of an agent that serves services alone. */
  readonly audit?: AuditStatus;
  /** Where metrics are to be had over TCP, and why not. */
  readonly metrics?: { readonly listening: readonly string[]; readonly errors: readonly string[] };
}

/** One difference between plan and kernel: the answer to GET /v1/drift is a list of these. */
export interface Drift {
  readonly node: string;
  readonly kind: PlanKind;
  readonly key: string;
  /** "missing", "not asked for", or what differs: "mtu is 1400, not 1450". */
  readonly difference: string;
  readonly origin: Origin | undefined;
}
