/** Reads the target and tells the queue where it differs from the table. Nothing is written here. */
import type { ActualOps } from "./reconcile-types.ts";
import type { RowQueue } from "./row-queue.ts";
import { nextTurn } from "./turn.ts";
import type { ReadableTable } from "./types.ts";

export interface Comparison {
  readonly checked: number;
  /** Keys of rows that the target does not hold as wanted. */
  readonly different: readonly string[];
  /** Those of them that were thought to be done. */
  readonly drifted: number;
  /** Keys of objects that are ours and that no row wants. */
  readonly leftovers: readonly string[];
}

/**
 * Compares these keys, or everything. With keys and a synchronous `list` it has ended when the call returns. The listing
 * ages while this yields between chunks: keys that an operation touches meanwhile are left out.
 */
export async function compare<Row, Actual>(
  table: ReadableTable<Row>,
  queue: RowQueue<Row, Actual>,
  ops: ActualOps<Row, Actual>,
  chunk: number,
  keys: readonly string[] | undefined,
): Promise<Comparison> {
  const log = queue.logTouches();
  try {
    const listing = ops.list(keys?.map((key) => table.get(key)).filter((row) => row !== undefined));
    const found = group(listing instanceof Promise ? await listing : listing, ops);
    const different: string[] = [];
    let checked = 0;
    let drifted = 0;
    let handled = 0;
    for (const key of keys ?? table.keys()) {
      if (keys === undefined && ++handled % chunk === 0) await nextTurn();
      queue.observe(key);
      const row = table.get(key);
      if (row === undefined || log.touched.has(key)) continue;
      checked++;
      if (found.get(key)?.some((actual) => ops.matches(row, actual))) queue.adopt(key, row);
      else {
        different.push(key);
        if (queue.drifted(key)) drifted++;
      }
    }
    const leftovers: string[] = [];
    for (const [key, [actual]] of keys === undefined ? found : []) {
      if (actual === undefined || table.has(key) || log.touched.has(key)) continue;
      queue.leftover(key, actual);
      leftovers.push(key);
    }
    return { checked, different, drifted, leftovers };
  } finally {
    log.end();
  }
}

/** Objects by key. Several of one key happen when a dump was disturbed; that one of them matches is enough. */
function group<Actual>(listing: Iterable<Actual>, ops: ActualOps<never, Actual>): Map<string, Actual[]> {
  const found = new Map<string, Actual[]>();
  for (const actual of listing) {
    const key = ops.keyOf(actual);
    if (key === undefined) continue;
    const same = found.get(key);
    if (same === undefined) found.set(key, [actual]);
    else same.push(actual);
  }
  return found;
}
