/** Metrics as Prometheus reads them (text format 0.0.4: prometheus.io/docs/instrumenting/exposition_formats). */

export interface Measurement {
  readonly labels?: Readonly<Record<string, string>>;
  /** Infinity is written as the format has it. */
  readonly value: number;
  /** Of histograms: "_bucket", "_sum" or "_count". */
  readonly suffix?: string;
}

export interface Metric {
  /** A counter's ends in _total; units are base units (seconds, bytes). */
  readonly name: string;
  readonly type: "gauge" | "counter" | "histogram";
  readonly help: string;
  readonly measurements: readonly Measurement[];
}

export const EXPOSITION_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Metrics without a measurement are left out. */
export const exposition = (metrics: readonly Metric[]): string =>
  metrics
    .filter((m) => m.measurements.length > 0)
    .map((m) => {
      const help = m.help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
      const lines = m.measurements.map(
        ({ labels = {}, value, suffix = "" }) =>
          `${m.name}${suffix}${labelsText(labels)} ${numberText(value)}`,
      );
      return [`# HELP ${m.name} ${help}`, `# TYPE ${m.name} ${m.type}`, ...lines, ""].join("\n");
    })
    .join("");

function labelsText(labels: Readonly<Record<string, string>>): string {
  const parts = Object.entries(labels).map(([name, value]) => {
    const text = value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
    return `${name}="${text}"`;
  });
  return parts.length === 0 ? "" : `{${parts.join(",")}}`;
}

const numberText = (value: number): string =>
  value === Number.POSITIVE_INFINITY ? "+Inf" : value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);

/** Counts how long things took. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  /** Upper bounds of its buckets, in seconds, ascending. */
  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = [...bounds, 0].map(() => 0);
  }

  observe(seconds: number): void {
    this.#sum += seconds;
    const at = this.#bounds.findIndex((b) => seconds <= b);
    const i = at === -1 ? this.#bounds.length : at;
    this.#counts[i] = (this.#counts[i] ?? 0) + 1;
  }

  measurements(labels: Readonly<Record<string, string>>): Measurement[] {
    let count = 0;
    const buckets = [...this.#bounds, Number.POSITIVE_INFINITY].map((bound, i): Measurement => {
      count += this.#counts[i] ?? 0;
      return { suffix: "_bucket", labels: { ...labels, le: numberText(bound) }, value: count };
    });
    return [
      ...buckets,
      { suffix: "_sum", labels, value: this.#sum },
      { suffix: "_count", labels, value: count },
    ];
  }
}
