/** GET /v1/ipam: this node's ranges, who has their addresses, and who had them last. Reads only. */
import { type Clock, contains, type IpAddress, type Prefix } from "@weft/base";
import type { Ledger } from "@weft/ipam";
import { type Forecast, UsageHistory } from "@weft/ipam/inspect";
import type { AuditFinding, NodeAddresses, RangeUse, SecondsLeft, Workload } from "@weft/model";
import type { OwnRange } from "./compare.ts";
import { originOfWorkload } from "./words.ts";

/** Former holders that one answer has, unless one address is asked for. */
const FORMER = 500;

/** Samples of the use of each range, in memory: a forecast begins anew with the agent. */
export class RangeUses {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #histories = new Map<Prefix, UsageHistory>();

  constructor(ledger: Ledger, clock: Clock) {
    this.#ledger = ledger;
    this.#clock = clock;
  }

  /** To be called now and then; ranges that are none any more are forgotten. */
  sample(ranges: readonly OwnRange[]): void {
    const prefixes = ranges.map((r) => r.prefix);
    for (const prefix of this.#histories.keys())
      if (!prefixes.includes(prefix)) this.#histories.delete(prefix);
    for (const { prefix, used } of this.#ledger.usage(prefixes)) {
      const history = this.#histories.get(prefix) ?? new UsageHistory();
      this.#histories.set(prefix, history);
      history.add(this.#clock.monotonic(), used);
    }
  }

  of(ranges: readonly OwnRange[]): RangeUse[] {
    const held = this.#ledger.pools.held();
    const usage = this.#ledger.usage(ranges.map((r) => r.prefix));
    return ranges.map((range, i): RangeUse => {
      const { used = 0, size = 0 } = usage[i] ?? {};
      return {
        ...range,
        used,
        size,
        lent: held.filter((h) => h.loan !== undefined && contains(range.prefix, h.address)).length,
        left: secondsLeft(this.#histories.get(range.prefix)?.forecast(size)),
      };
    });
  }
}

const secondsLeft = (forecast: Forecast | undefined): SecondsLeft =>
  forecast === undefined || forecast.kind === "unknown"
    ? undefined
    : forecast.kind === "never"
      ? null
      : forecast.seconds;

export interface ReportSources {
  readonly node: string;
  readonly clock: Clock;
  readonly ledger: Ledger;
  readonly named: (workload: Workload) => Workload;
  readonly ranges: readonly RangeUse[];
  readonly findings: readonly AuditFinding[];
}

export function addressReport(s: ReportSources): NodeAddresses {
  const { node, ledger } = s;
  return {
    node,
    at: s.clock.now(),
    ranges: s.ranges,
    leases: ledger.workloads().flatMap(({ workload, state }) => {
      const origin = originOfWorkload(s.named(workload), node);
      const { id, hostLink, namespacePath } = workload;
      return workload.addresses.map((address) => ({ address, id, origin, state, hostLink, namespacePath }));
    }),
    held: ledger.pools.held().map(({ address, block, node: holder, pod, loan, since }) => {
      return { address, block, node: holder, pod, loan, since };
    }),
    former: ledger.former(undefined, FORMER).map((f) => ({
      address: f.address as IpAddress,
      origin: {
        node,
        pod: f.podName === undefined ? undefined : `${f.podNamespace ?? "default"}/${f.podName}`,
        podUid: f.podUid,
        containerId: f.containerId,
        interface: f.interface,
        since: f.since,
      },
      until: f.until,
      why: f.why,
    })),
    findings: s.findings,
  };
}
