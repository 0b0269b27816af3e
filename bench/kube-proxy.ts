/**
 * Weft's services beside kube-proxy, in nftables and in iptables mode, on the same objects of a simulated API server: cold
 * start until packets pass, one endpoint more or less until the kernel has it, and new connections through services.
 */
import { loadavg } from "node:os";
import { WeftError } from "@weft/base";
import { watchNftables } from "@weft/kernel/nftables";
import { describeMachine } from "./machine.ts";
import type { BenchOptions } from "./options.ts";
import { SERVICE_PORT, serviceAddress } from "./proxy/objects.ts";
import { answered, connections, createPlace, looked } from "./proxy/place.ts";
import { kubeProxyVersion, SIDES, type Side, startProxy, TABLE } from "./proxy/sides.ts";
import { treeCpu, watchTree } from "./proxy/tree.ts";
import type { Figure, Report } from "./report.ts";
import { logTail, type Session } from "./session/session.ts";
import { percentile } from "./statistics.ts";
import { roundTrips } from "./traffic/measure.ts";

const ENDPOINTS = 5;
const CHANGES = 10;
const CONNECTIONS = 1000;
const COLD_MS = 400_000;
const CHANGE_MS = 240_000;
/** Nothing of the proxy's table has changed for as long: it is done. kube-proxy waits a second between syncs. */
const QUIET_MS = 2500;

interface Measured {
  readonly coldMs: number;
  readonly coldCpu: number;
  readonly peakMiB: number;
  readonly children: number;
  readonly restMiB: number;
  readonly changes: readonly number[];
  readonly changeCpuMs: number;
  /** Of the first, the middle and the last service, milliseconds. */
  readonly connections: readonly (readonly number[])[];
  readonly requests: number;
}

export async function benchKubeProxy(
  session: Session,
  options: BenchOptions,
  say: (text: string) => void,
): Promise<Report> {
  const figures: Figure[] = [];
  const sizes = options.services === 0 ? [1000, 10_000] : [options.services];
  const peers = SIDES.filter((p) => p !== "weft" && (options.peer === undefined || options.peer === p));
  const load: string[] = [];
  for (const services of sizes) {
    const found = new Map<Side, Measured>();
    for (const proxy of options.peer === "none" ? ["weft" as const] : ["weft" as const, ...peers]) {
      say(`${services} services with ${ENDPOINTS} endpoints: ${proxy}`);
      found.set(proxy, await measure(session, proxy, services, options, say));
      load.push(loadAverage());
    }
    const weft = found.get("weft") as Measured;
    const compared = peers.filter((p) => found.has(p));
    for (const peer of compared.length === 0 ? [undefined] : compared) {
      const other = peer === undefined ? undefined : found.get(peer);
      figures.push(...figuresOf(`${services}${peer === undefined ? "" : `, ${peer}`}`, weft, other));
    }
  }
  return {
    suite: "kube-proxy",
    peer: `kube-proxy ${options.peer === "none" ? "(left out)" : kubeProxyVersion()}`,
    figures,
    notes: [
      `each service has one TCP port and ${ENDPOINTS} endpoints of its own; both sides read the same JSON from a simulated API server`,
      "cold start: from the process to answers of the first, the middle and the last service; CPU until all is quiet",
      "memory: the most that the proxy and its children had together at one moment",
      "change: from the API server's write to its watches to the kernel's event",
      `load averages: ${load.join(", ")}`,
    ],
    machine: describeMachine(session.weft, ["nftables"]),
    command: `node_modules/.bin/bun run bench/run.ts kube-proxy${options.services === 0 ? "" : ` --services ${options.services}`}`,
    date: new Date().toISOString().slice(0, 10),
  };
}

const loadAverage = (): string => (loadavg()[0] as number).toFixed(1);

async function measure(
  session: Session,
  proxy: Side,
  services: number,
  { rounds, seconds }: BenchOptions,
  say: (text: string) => void,
): Promise<Measured> {
  const label = `${proxy}-${services}`;
  const place = await createPlace(session, label, services, ENDPOINTS);
  let last = 0;
  let heard: (() => void) | undefined;
  let stop: () => void = () => {};
  const started = performance.now();
  const child = startProxy(session, proxy, label, place);
  const tree = watchTree(child.pid);
  const quiet = async (): Promise<void> => {
    while (performance.now() - last < QUIET_MS || tree.busy()) await Bun.sleep(50);
  };
  try {
    await answered(place.client, looked(services), COLD_MS);
    const coldMs = performance.now() - started;
    last = performance.now();
    await quiet();
    const coldCpu = treeCpu(child.pid);
    const { peak, children } = tree;
    // Only now: as long as anybody listens, the kernel makes a message of each element.
    stop = watchNftables(place.node, ({ table }) => {
      if (table !== undefined && table !== TABLE[proxy]) return;
      last = performance.now();
      heard?.();
    });
    say(
      `  ${(coldMs / 1000).toFixed(2)} s, ${coldCpu.toFixed(2)} s of CPU, ${Math.round(peak / 2 ** 20)} MiB`,
    );
    const changes: number[] = [];
    const before = treeCpu(child.pid);
    const count = (rounds || CHANGES) * 2;
    for (let n = 0; n < count; n++) {
      const done = Promise.withResolvers<number>();
      heard = () => done.resolve(last);
      await place.change((Math.floor(n / 2) * 7919) % services, ENDPOINTS + ((n + 1) % 2));
      const written = performance.now();
      changes.push((await Promise.race([done.promise, late(proxy)])) - written);
      heard = undefined;
      // What follows is another change, and not one that the proxy gathers with the former.
      last = performance.now();
      await quiet();
    }
    say(`  change ${percentile(changes, 50).toFixed(2)} ms`);
    const changeCpuMs = ((treeCpu(child.pid) - before) / count) * 1000;
    const times = await connections(place.client, looked(services), CONNECTIONS);
    const path = { from: place.client, to: serviceAddress(services - 1) };
    const requests = await roundTrips(path, seconds || 3, SERVICE_PORT);
    return {
      coldMs,
      coldCpu,
      peakMiB: peak / 2 ** 20,
      children,
      restMiB: tree.now() / 2 ** 20,
      changes,
      changeCpuMs,
      connections: times,
      requests,
    };
  } catch (cause) {
    const hint = `The end of its log:\n${await logTail(session, label)}\nasked: ${(await place.asked()).slice(0, 12).join("\n")}`;
    throw new WeftError("unavailable", `${proxy} with ${services} services was not measured`, {
      cause,
      hint,
    });
  } finally {
    tree.stop();
    stop();
    child.kill("SIGTERM");
    await Promise.race([child.exited, Bun.sleep(5000)]);
    child.kill("SIGKILL");
    await child.exited;
  }
}

async function late(proxy: Side): Promise<never> {
  await Bun.sleep(CHANGE_MS);
  throw new WeftError("timeout", `${proxy} has not brought a change to the kernel in ${CHANGE_MS / 1000} s`);
}

function figuresOf(label: string, weft: Measured, peer: Measured | undefined): Figure[] {
  const figure = (
    name: string,
    unit: Figure["unit"],
    of: (m: Measured) => number,
    better: Figure["better"] = "lower",
  ): Figure => ({
    name: `${label}: ${name}`,
    unit,
    weft: of(weft),
    peer: peer === undefined ? undefined : of(peer),
    better,
  });
  return [
    figure("cold start", "s", (m) => m.coldMs / 1000),
    figure("cold start, CPU", "s", (m) => m.coldCpu),
    figure("memory, most", "MiB", (m) => m.peakMiB),
    figure("memory, afterwards", "MiB", (m) => m.restMiB),
    figure("children seen", "count", (m) => m.children),
    figure("change, p50", "ms", (m) => percentile(m.changes, 50)),
    figure("change, worst", "ms", (m) => Math.max(...m.changes)),
    figure("change, CPU", "ms", (m) => m.changeCpuMs),
    ...["first", "middle", "last"].flatMap((which, i) =>
      [50, 99].map((p) =>
        figure(`new connection, ${which} service, p${p}`, "ms", (m) => percentile(m.connections[i] ?? [], p)),
      ),
    ),
    figure("requests on one connection", "1/s", (m) => m.requests, "higher"),
  ];
}
