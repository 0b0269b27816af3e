/**
 * When a range of addresses will be full, if its use goes on growing as it did.
 *
 * The rule: of the samples of the last six hours, the slope of the line through each two of them is taken, and the median of
 * all these slopes is the growth (Theil 1950, Sen 1968). A rollout that doubles the pods for some minutes, or a node that
 * was drained, is a few slopes among many and changes nothing; least squares would follow it. What is free now, divided by the
 * growth, is the time that is left. Use that does not grow in the median is never full, and so is one that would need more than
 * ten years. With less than four samples, or with samples of less than two minutes, nothing is said.
 *
 * Samples are in memory alone: whoever keeps them begins anew when it is started.
 */

/** `at` in milliseconds of any clock that does not go back. */
export interface Sample {
  readonly at: number;
  readonly used: number;
}

export type Forecast =
  /** Too little is known yet. */
  | { readonly kind: "unknown" }
  | { readonly kind: "never" }
  /** Seconds from the last sample; 0 when it is full now. */
  | { readonly kind: "full"; readonly seconds: number };

const LEAST_SAMPLES = 4;
const LEAST_SPAN_MS = 120_000;
const MOST_SECONDS = 10 * 365 * 86_400;
/** Samples that are kept, and the time that they cover once there are enough. */
const MOST_SAMPLES = 64;
const WINDOW_MS = 6 * 3_600_000;

/** Of samples in the order of time. */
export function forecast(samples: readonly Sample[], size: number): Forecast {
  const last = samples.at(-1);
  const first = samples[0];
  if (last === undefined || first === undefined) return { kind: "unknown" };
  if (last.used >= size) return { kind: "full", seconds: 0 };
  if (samples.length < LEAST_SAMPLES || last.at - first.at < LEAST_SPAN_MS) return { kind: "unknown" };
  const growth = medianSlope(samples);
  if (!(growth > 0)) return { kind: "never" };
  const seconds = (size - last.used) / growth / 1000;
  return seconds > MOST_SECONDS ? { kind: "never" } : { kind: "full", seconds: Math.ceil(seconds) };
}

/** Addresses per millisecond. */
function medianSlope(samples: readonly Sample[]): number {
  const slopes: number[] = [];
  for (const [i, a] of samples.entries()) {
    for (const b of samples.slice(i + 1)) if (b.at > a.at) slopes.push((b.used - a.used) / (b.at - a.at));
  }
  slopes.sort((a, b) => a - b);
  const middle = slopes.length >> 1;
  const upper = slopes[middle] ?? 0;
  return slopes.length % 2 === 1 ? upper : (upper + (slopes[middle - 1] ?? 0)) / 2;
}

/**
 * At most 64 samples: close together at first, so that something can be said soon, and then ever farther apart, until
 * they cover six hours.
 */
export class UsageHistory {
  #samples: Sample[] = [];
  /** Least time between two that are kept; the last one is always kept, until the next comes. */
  #spacing = 0;

  get samples(): readonly Sample[] {
    return this.#samples;
  }

  /** Of a clock that does not go back; a sample of before the last one is left out. */
  add(at: number, used: number): void {
    const last = this.#samples.at(-1);
    if (last !== undefined && at <= last.at) return;
    const before = this.#samples.at(-2);
    // The last one gives way while it is too close to the one before.
    if (last !== undefined && before !== undefined && last.at - before.at < this.#spacing)
      this.#samples.pop();
    this.#samples.push({ at, used });
    while (this.#samples.length > 1 && at - (this.#samples[0] as Sample).at > WINDOW_MS)
      this.#samples.shift();
    if (this.#samples.length <= MOST_SAMPLES) return;
    const span = at - (this.#samples[0] as Sample).at;
    this.#spacing = Math.max(this.#spacing, (2 * span) / MOST_SAMPLES);
    this.#samples = thinned(this.#samples, this.#spacing);
  }

  forecast(size: number): Forecast {
    return forecast(this.#samples, size);
  }
}

/** The first, the last, and of the others those that are far enough from the one before. */
function thinned(samples: readonly Sample[], spacing: number): Sample[] {
  const kept: Sample[] = [];
  for (const [i, sample] of samples.entries()) {
    const last = kept.at(-1);
    if (last === undefined || sample.at - last.at >= spacing || i === samples.length - 1) kept.push(sample);
  }
  return kept;
}

/** "in 3 h", "full", "never", "-". */
export function forecastText(f: Forecast): string {
  if (f.kind === "unknown") return "-";
  if (f.kind === "never") return "never";
  const { seconds } = f;
  if (seconds === 0) return "full";
  if (seconds < 120) return `in ${seconds} s`;
  if (seconds < 7200) return `in ${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `in ${Math.round(seconds / 3600)} h`;
  return `in ${Math.round(seconds / 86_400)} days`;
}
