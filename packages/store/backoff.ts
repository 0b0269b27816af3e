/** Exponential backoff with jitter, which keeps rows that failed together from being tried together for ever. */
export interface Retry {
  /** Milliseconds. */
  readonly first: number;
  readonly cap: number;
}

/** Delay after that many failures in a row: doubles up to the cap; jitter takes off up to half. */
export function backoff(failures: number, retry: Retry, random: () => number): number {
  const full = Math.min(retry.cap, retry.first * 2 ** Math.min(failures - 1, 52));
  return full * (0.5 + random() / 2);
}
