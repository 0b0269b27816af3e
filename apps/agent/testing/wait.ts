/** Waiting for what another process does. */

const POLL_MS = 20;

/**
 * Polls until `look` gives something that is neither undefined nor false. Throws after `limit` milliseconds;
 * `state` says what there was instead.
 */
export async function eventually<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  limit = 60_000,
  state: () => string = () => "",
): Promise<T> {
  const end = performance.now() + limit;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error(`not within ${limit} ms: ${what} ${state()}`.trim());
    await Bun.sleep(POLL_MS);
  }
}

/** Milliseconds that a promise took. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
