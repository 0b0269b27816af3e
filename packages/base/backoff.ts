/** Exponential backoff with jitter: what failed together, rows or agents without their server, must not come back as one. */
export interface Backoff {
  /** Milliseconds before the first retry. */
  readonly first: number;
  /** Milliseconds that no retry waits longer than. */
  readonly cap: number;
}

/**
 * Milliseconds to wait after that many failures in a row (from 1): doubling, of which half is left to chance. `random`
 * gives numbers from 0 to 1; by default there is no chance in it.
 */
export function backoffDelay(
  failures: number,
  { first, cap }: Backoff,
  random: () => number = () => 1,
): number {
  const full = Math.min(cap, first * 2 ** Math.min(failures - 1, 40));
  return full * (0.5 + random() / 2);
}
