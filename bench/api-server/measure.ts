/** Rates and times of requests, and of events to many watchers. */
import type { Ask, Server } from "./sides.ts";

export interface Rate {
  /** Of all together. */
  readonly perSecond: number;
  /** Milliseconds of a single one. */
  readonly p50: number;
  readonly p99: number;
  /** Microseconds of the server's CPU for one. */
  readonly cpu: number;
}

const AT_ONCE = 32;

/** Runs `work` for each of 0 to count-1, some at once. */
export async function measure(
  server: Server,
  count: number,
  work: (i: number) => Promise<void>,
): Promise<Rate> {
  const times: number[] = [];
  let next = 0;
  const [began, before] = [performance.now(), server.cpu()];
  const worker = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) {
      const at = performance.now();
      await work(i);
      times.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, worker));
  const seconds = (performance.now() - began) / 1000;
  times.sort((a, b) => a - b);
  const percentile = (p: number): number => times[Math.floor((times.length - 1) * p)] as number;
  const cpu = ((server.cpu() - before) / count) * 1e6;
  return { perSecond: count / seconds, p50: percentile(0.5), p99: percentile(0.99), cpu };
}

export async function send(ask: Ask, method: string, path: string, body: unknown): Promise<void> {
  const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
  const headers = { "Content-Type": type };
  const answer = await ask(path, { method, headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(await answer.text());
  await answer.bytes();
}

export async function read(ask: Ask, path: string): Promise<Uint8Array> {
  const answer = await ask(path);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.bytes();
}

/** Watchers that count the events they get: each is one line. */
export async function watchers(
  ask: Ask,
  path: string,
  count: number,
): Promise<{ heard(): number; stop(): Promise<void> }> {
  const aborted = new AbortController();
  let lines = 0;
  const ended: Promise<void>[] = [];
  const listen = async (response: Response): Promise<void> => {
    try {
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        for (const byte of chunk) if (byte === 10) lines++;
      }
    } catch {
      // Ended by us.
    }
  };
  const { metadata } = JSON.parse(Buffer.from(await read(ask, `${path}?limit=1`)).toString()) as {
    metadata: { resourceVersion: string };
  };
  const query = `watch=true&resourceVersion=${metadata.resourceVersion}`;
  for (let i = 0; i < count; i += 50) {
    const some = Array.from({ length: Math.min(50, count - i) }, () =>
      ask(`${path}?${query}`, { signal: aborted.signal }),
    );
    for (const response of await Promise.all(some)) ended.push(listen(response));
  }
  return {
    heard: () => lines,
    async stop() {
      aborted.abort();
      await Promise.all(ended);
    },
  };
}
