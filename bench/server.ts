/**
 * `weft server` beside kube-apiserver with etcd: rates and times of single requests, events to many watchers, a large
 * store. The same client asks both over HTTPS, and Weft's over its socket too; the servers take turns. Each ends with
 * its measurement, and everything is in directories that are removed.
 *
 * The client is in one process with a limit of the runtime on its requests, which is raised by starting once more.
 *
 *   bun run bench/server.ts [--pods N] [--watchers N] [--writes N] [--json] [--weft FILE] [--cache DIRECTORY]
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { measure, type Rate, read, send, watchers } from "./api-server/measure.ts";
import { type Ask, kubernetes, type Server, weft } from "./api-server/sides.ts";
import { describeMachine } from "./machine.ts";

const LIMIT = "BUN_CONFIG_MAX_HTTP_REQUESTS";
if (process.env[LIMIT] === undefined) {
  const again = Bun.spawn([process.execPath, ...process.argv.slice(1)], {
    env: { ...process.env, [LIMIT]: "10000" },
    stdio: ["ignore", "inherit", "inherit"],
  });
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => again.kill(name));
  process.exit(await again.exited);
}

const { values } = parseArgs({
  options: {
    pods: { type: "string", default: "50000" },
    watchers: { type: "string", default: "1000" },
    writes: { type: "string", default: "2000" },
    json: { type: "boolean", default: false },
    weft: { type: "string", default: "dist/weft" },
    cache: { type: "string", default: join(import.meta.dir, "../e2e/.cache") },
  },
});
const count = (name: "pods" | "watchers" | "writes"): number => {
  if (/^[1-9]\d{0,6}$/.test(values[name])) return Number(values[name]);
  throw new Error(`--${name} must be a number of at least 1, not ${values[name]}`);
};
const [PODS, WATCHERS, WRITES] = [count("pods"), count("watchers"), count("writes")];
/** Writes that all watchers hear of. */
const TOLD = 200;

const podsOf = (namespace: string): string => `/api/v1/namespaces/${namespace}/pods`;
const pod = (name: string, i: number) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels: { app: `app-${i % 500}`, tier: "bench" } },
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

interface Figures {
  readonly perSecond?: number;
  readonly seconds?: number;
  readonly bytes?: number;
  readonly cpu?: number;
}
/** `side` is "Weft https" and the like, or the server alone. */
const numbers: ({ what: string; side: string } & Figures)[] = [];

function note(what: string, side: string, shown: string, figures: Figures): void {
  numbers.push({ what, side, ...figures });
  if (!values.json) console.log(`${what.padEnd(38)} ${side.padEnd(22)} ${shown}`);
}

/** What of Weft over HTTPS is to the peer, by the first figure of each and by CPU. */
function ratios(): { what: string; by: string; ratio: number; cpu: number | undefined }[] {
  return numbers.flatMap((ours) => {
    const way = /^Weft( https)?$/.exec(ours.side)?.[1];
    if (!ours.side.startsWith("Weft") || ours.side === "Weft socket") return [];
    const side = `kube-apiserver${way ?? ""}`;
    const theirs = numbers.find((n) => n.what === ours.what && n.side === side);
    const by = (["perSecond", "seconds", "bytes"] as const).find((figure) => ours[figure] !== undefined);
    if (theirs === undefined || by === undefined) return [];
    const divided = (figure: keyof Figures): number => (ours[figure] ?? 0) / (theirs[figure] ?? 0);
    const name = { perSecond: "rate", seconds: "time", bytes: "bytes" }[by];
    return [{ what: ours.what, by: name, ratio: divided(by), cpu: ours.cpu ? divided("cpu") : undefined }];
  });
}

const noteRate = (what: string, side: string, rate: Rate): void =>
  note(
    what,
    side,
    `${Math.round(rate.perSecond)} /s, p50 ${rate.p50.toFixed(1)} ms, p99 ${rate.p99.toFixed(1)} ms, CPU ${Math.round(rate.cpu)} us`,
    rate,
  );
const MIB = 2 ** 20;
const noteMemory = (what: string, server: Server): void =>
  note(what, server.name, `${Math.round(server.memory() / MIB)} MiB`, { bytes: server.memory() });

async function requests(server: Server, way: string, ask: Ask): Promise<void> {
  const side = `${server.name} ${way}`;
  const names = (i: number): string => `${way}-${i}`;
  const path = podsOf("default");
  const status = (phase: string) => (i: number) =>
    send(ask, "PATCH", `${path}/${names(i)}/status`, { status: { phase } });
  noteRate("create", side, await measure(server, WRITES, (i) => send(ask, "POST", path, pod(names(i), i))));
  noteRate(
    "get",
    side,
    await measure(server, WRITES, async (i) => void (await read(ask, `${path}/${names(i)}`))),
  );
  noteRate("status patch", side, await measure(server, WRITES, status("Running")));
  const watching = await watchers(ask, path, WATCHERS);
  const told = Math.min(TOLD, WRITES);
  const [began, before] = [performance.now(), server.cpu()];
  noteRate(`status patch, ${WATCHERS} watchers`, side, await measure(server, told, status("Succeeded")));
  const all = told * WATCHERS;
  while (watching.heard() < all) {
    if (performance.now() - began > 120_000) throw new Error(`${watching.heard()} of ${all} events came`);
    await Bun.sleep(2);
  }
  const perSecond = (all / (performance.now() - began)) * 1000;
  const cpu = ((server.cpu() - before) / all) * 1e6;
  note(`events to ${WATCHERS} watchers`, side, `${Math.round(perSecond)} /s, CPU ${cpu.toFixed(1)} us`, {
    perSecond,
    cpu,
  });
  await watching.stop();
}

async function large(server: Server): Promise<void> {
  const [{ ask } = { ask: undefined }] = server.ways;
  if (ask === undefined) throw new Error(`there is no way to ${server.name}`);
  await send(ask, "POST", "/api/v1/namespaces", {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "large" },
  });
  const path = podsOf("large");
  const filled = await measure(server, PODS, (i) => send(ask, "POST", path, pod(`pod-${i}`, i)));
  noteRate(`create up to ${PODS} pods`, `${server.name} https`, filled);
  noteMemory(`memory with ${PODS} pods`, server);
  for (const { name, ask } of server.ways) {
    for (const [what, query] of [
      [`list ${PODS} pods`, ""],
      ["list one node's pods of them", "?fieldSelector=spec.nodeName%3Dnode-7"],
      ["list a page of 500", "?limit=500"],
    ] as const) {
      const began = performance.now();
      const before = server.cpu();
      const { length } = await read(ask, `${path}${query}`);
      const seconds = (performance.now() - began) / 1000;
      const cpu = server.cpu() - before;
      note(
        what,
        `${server.name} ${name}`,
        `${seconds.toFixed(2)} s, CPU ${cpu.toFixed(2)} s, ${(length / MIB).toFixed(1)} MiB`,
        { seconds, cpu, bytes: length },
      );
    }
  }
  noteMemory("memory after the lists", server);
  await server.stop();
  const seconds = await server.start();
  note(`start with ${PODS} pods`, server.name, `${seconds.toFixed(2)} s, CPU ${server.cpu().toFixed(2)} s`, {
    seconds,
    cpu: server.cpu(),
  });
  noteMemory("memory after a start", server);
}

const peer = kubernetes(values.cache);
if (peer === undefined)
  console.error("kube-apiserver and etcd are not in e2e/.cache (./e2e/run builds them): no peer");
const servers = [weft(values.weft), ...(peer === undefined ? [] : [peer])];
const removeAll = async (): Promise<void> =>
  void (await Promise.all(servers.map((server) => server.remove())));
for (const name of ["SIGINT", "SIGTERM"] as const)
  process.on(name, () => void removeAll().then(() => process.exit(130)));
try {
  for (const server of servers) {
    const seconds = await server.start();
    note("start, empty", server.name, `${seconds.toFixed(2)} s`, { seconds });
    noteMemory("memory when empty", server);
    for (const { name, ask } of server.ways) await requests(server, name, ask);
    noteMemory("memory after the watchers", server);
    await large(server);
    await server.stop();
  }
} finally {
  await removeAll();
}
const machine = describeMachine(values.weft, []);
if (values.json) console.log(JSON.stringify({ machine, numbers, ratios: ratios() }, null, 2));
else {
  for (const { what, by, ratio, cpu } of ratios()) {
    const more = cpu === undefined ? "" : `, CPU ${cpu.toFixed(2)}x`;
    console.log(`${what.padEnd(38)} ${"Weft / kube-apiserver".padEnd(22)} ${by} ${ratio.toFixed(2)}x${more}`);
  }
  console.log(`${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}`);
}
