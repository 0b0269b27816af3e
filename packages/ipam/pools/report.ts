/**
 * Who has which address of a block, copied from the ledger into the block's status for people to read. What is written
 * follows from the ledger as it is at that moment, at most once in a while for each block, and nobody waits for it.
 */
import { contains, describeError, hasCode, type Prefix } from "@weft/base";
import type { Allocation } from "@weft/model";
import type { Parts } from "./parts.ts";
import type { BlockReport } from "./port.ts";

export function reportOf({ ledger, clock, known }: Parts, prefix: Prefix): BlockReport {
  const allocations = ledger.workloads().flatMap(({ workload: w }) =>
    w.addresses
      .filter((address) => contains(prefix, address))
      .map(
        (address): Allocation => ({
          address,
          pod: w.podName === undefined ? undefined : `${w.podNamespace ?? "default"}/${w.podName}`,
          podUid: w.podUid,
          containerId: w.containerId,
          node: undefined,
          since: w.since,
        }),
      ),
  );
  for (const { block, address, loan, node, pod, since } of ledger.pools.held()) {
    if (block !== prefix) continue;
    const to = loan === undefined ? undefined : node;
    allocations.push({ address, pod, podUid: undefined, containerId: undefined, node: to, since });
  }
  const [usage = { used: 0, size: 0 }] = ledger.usage([prefix]);
  // Never the same twice: a report is a new version of its object.
  const reported = Math.max(clock.now(), (known.of(prefix)?.reported ?? 0) + 1);
  return { allocations, used: usage.used, free: usage.size - usage.used, reported };
}

export class Reports {
  readonly #p: Parts;
  /** Monotonic time of the last attempt of each block. */
  readonly #last = new Map<Prefix, number>();
  #cancel: (() => void) | undefined;
  #running = false;

  constructor(parts: Parts) {
    this.#p = parts;
  }

  /** Something may be other than it was. */
  due(): void {
    if (this.#cancel !== undefined || this.#running || this.#p.signal.aborted) return;
    this.#cancel = this.#p.clock.setTimeout(() => {
      this.#cancel = undefined;
      void this.#run();
    }, this.#p.times.report / 10);
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
      for (const { prefix } of records) {
        const object = known.of(prefix);
        if (object?.node !== node || this.#p.signal.aborted) continue;
        if (object.reported !== undefined && same(object.allocations, reportOf(this.#p, prefix).allocations))
          continue;
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
