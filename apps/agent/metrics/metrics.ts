/** What Prometheus gets of an agent. Every name is in docs/ipam.md. */
import { exposition, Histogram, type Metric } from "@weft/base";
import type { AuditStatus, RangeUse } from "@weft/model";
import type { Handler } from "../server.ts";

export interface MetricSources {
  readonly version: string;
  readonly node: string;
  readonly ready: boolean;
  readonly ranges: readonly RangeUse[];
  readonly workloads: number;
  readonly audit: AuditStatus;
}

/** Seconds: an ADD takes some milliseconds; its deadline is a minute. */
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** What runtimes ask of this agent, and how long that takes. */
export class CniCounts {
  readonly #results = new Map<string, { readonly command: string; readonly result: string; count: number }>();
  readonly #durations = new Map<string, Histogram>();

  /** The same routes, counted. Others than CNI's are as they are. */
  counting(routes: Readonly<Record<string, Handler>>): Readonly<Record<string, Handler>> {
    return Object.fromEntries(
      Object.entries(routes).map(([route, handler]) => {
        const command = /^POST \/v1\/cni\/(add|del|check|gc)$/.exec(route)?.[1]?.toUpperCase();
        return [route, command === undefined ? handler : this.#counted(command, handler)];
      }),
    );
  }

  #counted(command: string, handler: Handler): Handler {
    return async (body, signal) => {
      const start = performance.now();
      let result = "error";
      try {
        const answer = await handler(body, signal);
        result = "success";
        return answer;
      } finally {
        const key = `${command} ${result}`;
        const known = this.#results.get(key) ?? { command, result, count: 0 };
        known.count++;
        this.#results.set(key, known);
        const histogram = this.#durations.get(command) ?? new Histogram(BOUNDS);
        this.#durations.set(command, histogram);
        histogram.observe((performance.now() - start) / 1000);
      }
    };
  }

  metrics(): Metric[] {
    return [
      {
        name: "weft_cni_requests_total",
        type: "counter",
        help: "Requests of the container runtime, by CNI command and result.",
        measurements: [...this.#results.values()].map(({ command, result, count }) => ({
          labels: { command, result },
          value: count,
        })),
      },
      {
        name: "weft_cni_request_duration_seconds",
        type: "histogram",
        help: "Time that the agent took for a request, waiting included.",
        measurements: [...this.#durations].flatMap(([command, h]) => h.measurements({ command })),
      },
    ];
  }
}

export function agentMetrics(s: MetricSources, counts: CniCounts): string {
  const { audit } = s;
  const ofRanges = (value: (r: RangeUse) => number | undefined): Metric["measurements"] =>
    s.ranges.flatMap((r) => {
      const one = r.lentFrom === undefined ? value(r) : undefined;
      return one === undefined ? [] : [{ labels: { block: r.prefix, pool: r.pool ?? "" }, value: one }];
    });
  const gauge = (name: string, help: string, measurements: Metric["measurements"]): Metric => {
    return { name, type: "gauge", help, measurements };
  };
  const counter = (name: string, help: string, measurements: Metric["measurements"]): Metric => {
    return { name, type: "counter", help, measurements };
  };
  return exposition([
    gauge("weft_agent_info", "The agent that answers.", [
      { labels: { version: s.version, node: s.node }, value: 1 },
    ]),
    gauge("weft_agent_ready", "1 when the agent serves pods.", [{ value: s.ready ? 1 : 0 }]),
    gauge(
      "weft_ipam_block_addresses",
      "Addresses of a range of this node that can be handed out; pool is empty for a podCIDR.",
      ofRanges((r) => r.size),
    ),
    gauge(
      "weft_ipam_block_used",
      "Addresses of a range of this node that somebody has, those on loan included.",
      ofRanges((r) => r.used),
    ),
    gauge(
      "weft_ipam_block_lent",
      "Addresses of a range of this node that are on loan to other nodes.",
      ofRanges((r) => (r.pool === undefined ? undefined : r.lent)),
    ),
    gauge(
      "weft_ipam_block_exhausted_seconds",
      "Forecast: seconds until the range is full; +Inf when its use does not grow. Absent while too little is known.",
      ofRanges((r) => (r.left === null ? Number.POSITIVE_INFINITY : r.left)),
    ),
    gauge("weft_ipam_borrowed_addresses", "Addresses of other nodes' blocks that this node has.", [
      { value: s.ranges.filter((r) => r.lentFrom !== undefined).length },
    ]),
    gauge("weft_ipam_attachments", "Interfaces of containers that have addresses of this node.", [
      { value: s.workloads },
    ]),
    gauge(
      "weft_ipam_audit_findings",
      "What the audit of addresses found and still stands, by code.",
      [...Map.groupBy(audit.findings, (f) => f.code)].map(([code, all]) => ({
        labels: { code },
        value: all.length,
      })),
    ),
    gauge(
      "weft_ipam_audit_last_run_timestamp_seconds",
      "When the audit of addresses looked last.",
      audit.lastRun === undefined ? [] : [{ value: audit.lastRun / 1000 }],
    ),
    counter(
      "weft_ipam_reclaimed_total",
      "Attachments whose addresses were taken back though nobody sent DEL, by reason.",
      Object.entries(audit.reclaimed).map(([reason, value]) => ({ labels: { reason }, value })),
    ),
    counter("weft_ipam_leftovers_removed_total", "Links and routes of pods that nobody asked for, removed.", [
      { value: audit.leftovers },
    ]),
    ...counts.metrics(),
  ]);
}
