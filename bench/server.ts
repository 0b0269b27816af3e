/**
 * The API server alone, as a process of its own, over its unix socket: rates and times of single requests, watchers that
 * hear of changes, and a large store. There is no peer: kube-apiserver needs etcd and another machine's worth of set-up.
 *
 * The client is in one process with a limit of the runtime on its requests, which is raised by starting once more.
 *
 *   bun run bench/server.ts [--pods N] [--watchers N] [--writes N] [--weft FILE]
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const LIMIT = "BUN_CONFIG_MAX_HTTP_REQUESTS";
if (process.env[LIMIT] === undefined) {
  const again = Bun.spawn([process.execPath, ...process.argv.slice(1)], {
    env: { ...process.env, [LIMIT]: "10000" },
    stdio: ["ignore", "inherit", "inherit"],
  });
  process.exit(await again.exited);
}

const { values } = parseArgs({
  options: {
    pods: { type: "string", default: "50000" },
    watchers: { type: "string", default: "1000" },
    writes: { type: "string", default: "2000" },
    weft: { type: "string", default: "dist/weft" },
  },
});
const [PODS, WATCHERS, WRITES] = [values.pods, values.watchers, values.writes].map(Number) as [
  number,
  number,
  number,
];
const AT_ONCE = 32;

const directory = mkdtempSync(join(tmpdir(), "weft-bench-server-"));
const socket = join(directory, "server.sock");
const pods = "/api/v1/namespaces/default/pods";
const pod = (i: number) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: `pod-${i}`, labels: { app: `app-${i % 500}`, tier: "bench" } },
  spec: {
    nodeName: `node-${i % 1000}`,
    containers: [
      {
        name: "main",
        image: "registry.example.com/team/service:v1.2.3",
        ports: [{ containerPort: 8080 }],
        env: [{ name: "MODE", value: "production" }],
        resources: { requests: { cpu: "100m", memory: "128Mi" } },
      },
    ],
  },
});

async function start(): Promise<{ child: Bun.Subprocess; seconds: number }> {
  const began = performance.now();
  const child = Bun.spawn([values.weft, "server", "--data", directory, "--port", "0"], {
    stdout: "pipe",
    stderr: "ignore",
  });
  await child.stdout.getReader().read();
  return { child, seconds: (performance.now() - began) / 1000 };
}

const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(`http://server${path}`, { ...init, unix: socket });

async function send(method: string, path: string, body: unknown): Promise<void> {
  const headers = {
    "Content-Type": method === "PATCH" ? "application/merge-patch+json" : "application/json",
  };
  const answer = await ask(path, { method, headers, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(await answer.text());
  await answer.bytes();
}

/** Runs `work` for 0 to count-1, some at once; prints the rate and percentiles of the single ones. */
async function measure(name: string, count: number, work: (i: number) => Promise<void>): Promise<void> {
  const times: number[] = [];
  let next = 0;
  const began = performance.now();
  const worker = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) {
      const at = performance.now();
      await work(i);
      times.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const seconds = (performance.now() - began) / 1000;
  times.sort((a, b) => a - b);
  const percentile = (p: number): string => (times[Math.floor((times.length - 1) * p)] as number).toFixed(1);
  print(name, `${Math.round(count / seconds)} /s, p50 ${percentile(0.5)} ms, p99 ${percentile(0.99)} ms`);
}

const print = (name: string, figure: string): void => console.log(`${name.padEnd(44)} ${figure}`);
/** Seconds of CPU that a process has taken. */
const cpu = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
};
const memory = (pid: number): string =>
  `${Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024)} MiB`;

async function timedList(name: string, query: string): Promise<void> {
  const began = performance.now();
  const bytes = await (await ask(`${pods}${query}`)).bytes();
  print(
    name,
    `${((performance.now() - began) / 1000).toFixed(2)} s, ${(bytes.length / 2 ** 20).toFixed(1)} MiB`,
  );
}

/** Watchers that count the events they get; each event is one line. */
async function watchers(count: number): Promise<{ heard(): number; stop(): void }> {
  const aborted = new AbortController();
  let lines = 0;
  const read = async (response: Response): Promise<void> => {
    try {
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        for (const byte of chunk) if (byte === 10) lines++;
      }
    } catch {
      // Ended by us.
    }
  };
  const { metadata } = (await (await ask(`${pods}?limit=1`)).json()) as {
    metadata: { resourceVersion: string };
  };
  for (let i = 0; i < count; i++) {
    const query = `watch=true&resourceVersion=${metadata.resourceVersion}`;
    void read(await ask(`${pods}?${query}`, { signal: aborted.signal }));
  }
  return { heard: () => lines, stop: () => aborted.abort() };
}

let { child, seconds } = await start();
try {
  print("start, empty", `${seconds.toFixed(2)} s, ${memory(child.pid)}`);
  await measure(`create, ${AT_ONCE} at once`, WRITES, (i) => send("POST", pods, pod(i)));
  await measure(
    `get, ${AT_ONCE} at once`,
    WRITES,
    async (i) => void (await (await ask(`${pods}/pod-${i}`)).bytes()),
  );
  await measure(`status patch, ${AT_ONCE} at once`, WRITES, (i) =>
    send("PATCH", `${pods}/pod-${i}/status`, { status: { phase: "Running" } }),
  );
  const watching = await watchers(WATCHERS);
  const writes = 200;
  const [began, cpuBefore] = [performance.now(), cpu(child.pid)];
  await measure(`status patch, with ${WATCHERS} watchers`, writes, (i) =>
    send("PATCH", `${pods}/pod-${i}/status`, { status: { phase: "Succeeded" } }),
  );
  while (watching.heard() < writes * WATCHERS) await Bun.sleep(5);
  const spent = (performance.now() - began) / 1000;
  const each = ((cpu(child.pid) - cpuBefore) / (writes * WATCHERS)) * 1e6;
  const rate = Math.round((writes * WATCHERS) / spent);
  print(
    `events to ${WATCHERS} watchers`,
    `${rate} /s, ${each.toFixed(1)} us of CPU each, ${memory(child.pid)}`,
  );
  watching.stop();
  await measure(`create up to ${PODS} pods`, PODS - WRITES, (i) => send("POST", pods, pod(WRITES + i)));
  print("memory", memory(child.pid));
  await timedList(`list ${PODS} pods`, "");
  await timedList("list one node's pods of them", "?fieldSelector=spec.nodeName%3Dnode-7");
  await timedList("list a page of 500", "?limit=500");
  print("memory after the lists", memory(child.pid));
  child.kill();
  await child.exited;
  ({ child, seconds } = await start());
  print(`start with ${PODS} pods`, `${seconds.toFixed(2)} s, ${memory(child.pid)}`);
} finally {
  child.kill();
  await child.exited;
  rmSync(directory, { recursive: true, force: true });
}
