/** What a watch of a resource is asked for, gives, and says of itself. */
import type { Backoff, Clock, Logger } from "@weft/base";
import type { Decode, RowChange } from "./held-rows.ts";
import type { ApiClient } from "./http.ts";

export interface RowBatch<Row> {
  /** These are all the rows, each without `before`: what was told earlier counts no more. The first batch is one. */
  readonly reset: boolean;
  readonly changes: readonly RowChange<Row>[];
  /** The collection's resourceVersion that the rows are of: what was written since may be missing. "" without a list. */
  readonly version: string;
}

export interface ResourceWatchOptions<Row> {
  readonly client: ApiClient;
  /** A collection: "/api/v1/pods". */
  readonly path: string;
  /** "app=web,tier!=cache" */
  readonly labelSelector?: string;
  /** "spec.nodeName=node-a" */
  readonly fieldSelector?: string;
  readonly decode: Decode<Row>;
  /**
   * First all rows, once the first list is complete; then what changed. When it throws, that is logged, and
   * everything is listed and told again.
   */
  readonly onChange: (batch: RowBatch<Row>) => void;
  /** After every change of what `status` says, other than numbers and times. */
  readonly onStatus?: () => void;
  /**
   * The server may not know the kind: then there are no rows, which is no fault, and it is asked again after some
   * `every` milliseconds. Rows that are known stay until it has said so three times.
   */
  readonly optional?: { readonly every: number };
  /** Objects a page of the list, 500 by default. */
  readonly pageSize?: number;
  /** Milliseconds without a byte after which a connection is given up, 300,000 by default. */
  readonly idleLimit?: number;
  /** 800 ms, doubling to 30 s by default; to a unix socket 50 ms, doubling to 1 s. */
  readonly backoff?: Backoff;
  readonly clock?: Clock;
  readonly random?: () => number;
  readonly logger?: Logger;
}

/** "absent": the server does not know the kind. */
export type WatchState = "listing" | "watching" | "absent" | "away" | "stopped";

export interface WatchStatus {
  readonly path: string;
  readonly state: WatchState;
  /** Milliseconds since the epoch: when it came to be so. */
  readonly since: number;
  /** When the server was lost, as long as it is away. Rows are as they were then. */
  readonly awaySince: number | undefined;
  /** Why the last connection failed, until one succeeds. */
  readonly lastError: string | undefined;
  readonly hint: string | undefined;
  /** The first list is complete, or there is nothing to list. */
  readonly synced: boolean;
  readonly objects: number;
  readonly resourceVersion: string | undefined;
  readonly lists: number;
  readonly watches: number;
  /** Objects whose last version could not be decoded, and why; they keep the row that they had. */
  readonly faults: ReadonlyMap<string, string>;
}

export interface ResourceWatch {
  /** Resolves when the first list is complete and told; rejects when it is stopped before. */
  readonly ready: Promise<void>;
  status(): WatchStatus;
  /**
   * Gives the connection up, or the wait for the next one, and connects anew. For whoever knows of a reason that TCP
   * would find out in a quarter of an hour: this machine's address has changed.
   */
  reconnect(reason: string): void;
  /** Resolves when nothing more will be told. */
  stop(): Promise<void>;
}
