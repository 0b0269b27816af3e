/** What is told of a sample of measurements. */
import { WeftError } from "@weft/base";

/**
 * The p-th percentile, 0 < p <= 100, by nearest rank: the least value that at least p % of the sample do not
 * exceed. Always a value that was measured. Throws "invalid" for an empty sample.
 */
export function percentile(sample: readonly number[], p: number): number {
  if (sample.length === 0 || !(p > 0 && p <= 100)) {
    throw new WeftError("invalid", `there is no percentile ${p} of ${sample.length} values`);
  }
  const sorted = [...sample].sort((a, b) => a - b);
  return sorted[Math.ceil((p / 100) * sorted.length) - 1] as number;
}

/** The value in the middle, or the mean of the two that are. Throws "invalid" for an empty sample. */
export function median(sample: readonly number[]): number {
  if (sample.length === 0) throw new WeftError("invalid", "there is no median of no values");
  const sorted = [...sample].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] as number;
  const lower = sorted[Math.ceil(sorted.length / 2) - 1] as number;
  return (lower + upper) / 2;
}

/**
 * Percentile of each round, and of these the median: one round that something else on the machine disturbed does
 * not decide.
 */
export const medianPercentile = (rounds: readonly (readonly number[])[], p: number): number =>
  median(rounds.map((round) => percentile(round, p)));

/** Quartiles of a / b, taken pair by pair. Throws "invalid" for no pairs, or samples of different lengths. */
export function ratioQuartiles(a: readonly number[], b: readonly number[]): readonly [number, number] {
  if (a.length !== b.length) {
    throw new WeftError("invalid", `${a.length} values and ${b.length} values make no pairs`);
  }
  const ratios = a.map((value, i) => value / (b[i] as number));
  return [percentile(ratios, 25), percentile(ratios, 75)];
}
