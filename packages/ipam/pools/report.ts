/**
 * Who has which address of a block, copied from the ledger into the block's status for people to read. What is written
 * follows from the ledger as it is at that moment, at most once in a while for each block, and nobody waits for it.
 */
import { bitsOf, describeError, familyOf, hasCode, makePrefix, type Prefix, prefixLength } from "@weft/base";
import type { Allocation } from "@weft/model";
import type { Parts } from "./parts.ts";
import type { BlockReport } from "./port.ts";

export function reportOf(parts: Parts, prefix: Prefix): BlockReport {
  const { ledger, clock, known } = parts;
  const allocations = allocationsOf(parts, [prefix]).get(prefix) ?? [];
  const [usage = { used: 0, size: 0 }] = ledger.usage([prefix]);
  // Never the same twice: a report is a new version of its object.
  const reported = Math.max(clock.now(), (known.of(prefix)?.reported ?? 0) + 1);
  return { allocations, used: usage.used, free: usage.size - usage.used, reported };
}

/** Of several blocks, for one reading of the ledger. */
function allocationsOf(
  { ledger }: Parts,
  blocks: readonly Prefix[],
): ReadonlyMap<Prefix, readonly Allocation[]> {
  const found = new Map<string, Allocation[]>(blocks.map((prefix) => [prefix, []]));
  const lengths = [...new Set(blocks.map(prefixLength))];
  const put = (allocation: Allocation): void => {
    for (const length of lengths) {
      if (length > bitsOf(familyOf(allocation.address))) continue;
      found.get(makePrefix(allocation.address, length))?.push(allocation);
    }
  };
  for (const { workload: w } of ledger.workloads()) {
    const pod = w.podName === undefined ? undefined : `${w.podNamespace ?? "default"}/${w.podName}`;
    const { podUid, containerId, since } = w;
    for (const address of w.addresses) put({ address, pod, podUid, containerId, node: undefined, since });
  }
  for (const { address, loan, node, pod, since } of ledger.pools.held()) {
    const to = loan === undefined ? undefined : node;
    put({ address, pod, podUid: undefined, containerId: undefined, node: to, since });
  }
  return found as Map<Prefix, Allocation[]>;
}

export class Reports {
  readonly #p: Parts;
  /** Monotonic time of the last attempt of each block. */
  readonly #last = new Map<Prefix, number>();
  #cancel: (() => void) | undefined;
  #running = false;
  #ended = Number.NEGATIVE_INFINITY;

  constructor(parts: Parts) {
    this.#p = parts;
  }

  /** Something may be other than it was. */
  due(): void {
    if (this.#cancel !== undefined || this.#running || this.#p.signal.aborted) return;
    const { clock, times } = this.#p;
    // Soon, so that what comes together is told together; but all of it costs a reading of the ledger.
    const wait = Math.max(times.report / 10, this.#ended + times.report - clock.monotonic());
    this.#cancel = clock.setTimeout(() => {
      this.#cancel = undefined;
      void this.#run();
    }, wait);
  }

  stop(): void {
    this.#cancel?.();
  }

  async #run(): Promise<void> {
    const { ledger, known, node, clock, times, logger, view } = this.#p;
    this.#running = true;
    let again = false;
    try {
      if (view()?.current !== true) return;
      const records = ledger.pools.blocks().filter((r) => r.loan === undefined && r.state === "open");
      const now = allocationsOf(
        this.#p,
        records.map((r) => r.prefix),
      );
      for (const { prefix } of records) {
        const object = known.of(prefix);
        if (object?.node !== node || this.#p.signal.aborted) continue;
        if (object.reported !== undefined && same(object.allocations, now.get(prefix) ?? [])) continue;
        again = true;
        if (clock.monotonic() - (this.#last.get(prefix) ?? Number.NEGATIVE_INFINITY) < times.report) continue;
        this.#last.set(prefix, clock.monotonic());
        await this.#write(prefix);
      }
      for (const prefix of this.#last.keys())
        if (!records.some((r) => r.prefix === prefix)) this.#last.delete(prefix);
    } catch (error) {
      if (!this.#p.signal.aborted) logger.warn("blocks cannot be reported", { error: describeError(error) });
    } finally {
      this.#running = false;
      this.#ended = this.#p.clock.monotonic();
      if (again) this.due();
    }
  }

  /** Somebody else changed the block, or it is gone: what is known of it will be newer the next time. */
  async #write(prefix: Prefix): Promise<void> {
    const { api, known, signal, written, logger } = this.#p;
    const object = known.of(prefix);
    if (object === undefined) return;
    try {
      const block = await api.writeStatus(object, reportOf(this.#p, prefix), signal);
      known.learn(block);
      written(block);
    } catch (error) {
      if (signal.aborted) return;
      if (!hasCode(error, "conflict"))
        logger.info("a block cannot be reported yet", { block: prefix, error: describeError(error) });
    }
  }
}

function same(a: readonly Allocation[], b: readonly Allocation[]): boolean {
  if (a.length !== b.length) return false;
  const texts = new Set(a.map(textOf));
  return b.every((one) => texts.has(textOf(one)));
}

/** Times are kept to the second by the server. */
const textOf = (a: Allocation): string =>
  [a.address, a.pod, a.podUid, a.containerId, a.node, Math.floor(a.since / 1000)].join(" ");
