/**
 * Proves the Kubernetes network model on the running network: every pod reaches every pod, every node every pod and
 * every pod every node, without address translation, with packets of the promised size.
 *
 * The check brings its own listeners into the namespaces, so that it depends on no workload, and drives both ends
 * from one thread:
 *
 *     endpoints.ts   nodes and pods -> endpoints, open namespaces
 *     pairs.ts       which ordered pairs, all or a sample
 *     listeners.ts   one TCP and one UDP socket for each address, answering with the address seen
 *     tcp.ts udp.ts  the probes         loop.ts   their epoll loop
 *     matrix.ts      results as a table render.ts the report as text
 */
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { contains, familyOf, WeftError } from "@weft/base";
import type { NetnsHandle } from "@weft/kernel/netns";
import { Poller } from "@weft/kernel/sys";
import { type Endpoint, endpointsOf, familiesOf, Namespaces, setupError } from "./endpoints.ts";
import { type ArrivalObserver, type Listener, Listeners } from "./listeners.ts";
import { runProbes } from "./loop.ts";
import { buildMatrix } from "./matrix.ts";
import { TOKEN_BYTES } from "./message.ts";
import { choosePairs } from "./pairs.ts";
import type { Probe, ProbeContext } from "./probe.ts";
import { TcpProbe } from "./tcp.ts";
import type {
  CheckFailure,
  CheckInput,
  CheckOptions,
  CheckReport,
  EndpointSummary,
  PacketCounter,
  SetupError,
} from "./types.ts";
import { UdpProbe } from "./udp.ts";

/** An endpoint whose namespace is open, with the addresses that could be listened on. */
interface Live {
  readonly endpoint: Endpoint;
  readonly namespace: NetnsHandle;
  readonly listeners: readonly Listener[];
  readonly addresses: Endpoint["addresses"];
}

/** More sockets than this in flight only wait, and gain nothing. */
const MOST_SOCKETS = 4096;
const FIRST_PROGRESS_MS = 1000;
const PROGRESS_EVERY_MS = 500;

/**
 * Runs the check. What cannot be tested is in the report's `setupErrors`; throws WeftError "invalid" for input that
 * contradicts itself and "exhausted" when the limit of open files leaves no room.
 */
export async function checkNetwork(input: CheckInput, options: CheckOptions = {}): Promise<CheckReport> {
  const settings = settingsOf(options);
  const started = new Date().toISOString();
  const begin = performance.now();
  const setupErrors: SetupError[] = [];
  const endpoints = endpointsOf(input, setupErrors);
  const drift = askDrift(input, setupErrors);
  const before = readCounters(input, setupErrors);

  const failures: CheckFailure[] = [];
  const tested: [number, number][] = [];
  let exchanges = 0;
  const token = randomBytes(TOKEN_BYTES);
  const poller = new Poller();
  const namespaces = new Namespaces();
  const listeners = new Listeners(token, poller);
  const datagrams: UdpProbe[] = [];
  const observer: ArrivalObserver = {
    arrived: ({ probe, stage }) => datagrams[probe]?.arrived(stage),
    unanswered: ({ probe, stage }, reason) => datagrams[probe]?.unanswered(stage, reason),
  };
  const context: ProbeContext = {
    token,
    timeoutMs: settings.timeoutMs,
    retries: settings.retries,
    listenerName: (index) => listeners.get(index)?.name,
    nameOf: (address) => {
      if (contains("fe80::/10", address) || contains("169.254.0.0/16", address))
        return `its gateway (${address})`;
      const owner = endpoints.find((e) => e.addresses.includes(address));
      return owner === undefined ? address : `${owner.name} (${address})`;
    },
    begun: () => exchanges++,
    failed: (target, probe, reason) =>
      failures.push({
        from: target.from.name,
        to: target.to.name,
        family: target.family,
        address: target.address,
        probe,
        ...reason,
      }),
  };
  const choice = choosePairs(
    endpoints.map((e) => ({ node: e.node, families: familiesOf(e.addresses), isPod: e.kind === "pod" })),
    settings.maxPairs,
    settings.seed,
  );

  try {
    const live = await bringUp(endpoints, namespaces, listeners, observer, setupErrors);
    const probes: Probe[] = [];
    for (const [a, b] of choice.pairs) {
      const from = live[a];
      const to = live[b];
      if (from === undefined || to === undefined) continue;
      const count = probes.length;
      addProbes(probes, datagrams, context, from, to);
      if (probes.length > count) tested.push([a, b]);
    }
    await runProbes(probes, {
      poller,
      serve: (fd) => listeners.serve(fd),
      concurrency: settings.concurrency,
      sockets: socketRoom(),
      onProgress: progressReporter(options, begin, probes.length),
    });
  } finally {
    listeners.close();
    namespaces.close();
    poller.close();
  }

  const barePackets = increase(before, readCounters(input, setupErrors));
  const summaries = endpoints.map(summaryOf);
  const report = {
    started,
    endpoints: summaries,
    pairs: { tested: tested.length, total: choice.total, sampled: choice.sampled, probes: exchanges },
    failures: inOrder(failures, endpoints),
    matrix: buildMatrix(summaries, tested, failures),
    barePackets,
    drift: await drift,
    foreignChains: (input.foreignChains ?? []).filter((c) => c.hasDropRules || c.policy === "drop"),
    setupErrors,
  };
  const bare = (barePackets ?? []).some((counter) => counter.packets > 0);
  const ok = failures.length === 0 && setupErrors.length === 0 && !bare;
  return { ok, durationMs: Math.round(performance.now() - begin), ...report };
}

type Settings = Required<Omit<CheckOptions, "onProgress">>;

function settingsOf(options: CheckOptions): Settings {
  const whole = (name: keyof Settings, fallback: number, least: number): number => {
    const value = options[name] ?? fallback;
    if (Number.isInteger(value) && value >= least) return value;
    throw new WeftError("invalid", `${name} is ${value}, not a whole number from ${least} on`, {
      object: name,
    });
  };
  return {
    timeoutMs: whole("timeoutMs", 1000, 1),
    retries: whole("retries", 1, 0),
    concurrency: whole("concurrency", 256, 1),
    maxPairs: whole("maxPairs", 4000, 1),
    seed: whole("seed", 1, 0),
  };
}

/** Opens namespaces and listeners; an endpoint that has neither is undefined and named in the errors. */
function bringUp(
  endpoints: readonly Endpoint[],
  namespaces: Namespaces,
  listeners: Listeners,
  observer: ArrivalObserver,
  errors: SetupError[],
): Promise<(Live | undefined)[]> {
  const live = async (endpoint: Endpoint): Promise<Live | undefined> => {
    const namespace = namespaces.open(endpoint, errors);
    if (namespace === undefined) return undefined;
    const found: Listener[] = [];
    const addresses: Endpoint["addresses"][number][] = [];
    for (const address of endpoint.addresses) {
      const listener = await listeners.open(namespace, address, endpoint.name, observer, errors);
      if (listener === undefined) continue;
      found.push(listener);
      addresses.push(address);
    }
    return { endpoint, namespace, listeners: found, addresses };
  };
  // Together: addresses that are still tentative are waited for once, not one after the other.
  return Promise.all(endpoints.map(live));
}

function addProbes(
  probes: Probe[],
  datagrams: UdpProbe[],
  context: ProbeContext,
  source: Live,
  destination: Live,
): void {
  const { endpoint: from, namespace } = source;
  const { endpoint: to } = destination;
  const families = familiesOf(source.addresses);
  // Inside one namespace packets take the loopback, which has an MTU of its own.
  const apart = namespace !== destination.namespace;
  const mtu =
    apart && from.mtu !== undefined && to.mtu !== undefined ? Math.min(from.mtu, to.mtu) : undefined;
  destination.listeners.forEach((listener, i) => {
    const address = destination.addresses[i]!;
    const family = familyOf(address);
    if (!families.has(family)) return;
    const target = { namespace, from, to, family, address, listener };
    probes.push(new TcpProbe(context, target));
    const datagram = new UdpProbe(context, target, datagrams.length, mtu);
    datagrams.push(datagram);
    probes.push(datagram);
  });
}

/** Sockets that may be opened, by the limit of open files and what is open already. */
function socketRoom(): number {
  const limit = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  const open = readdirSync("/proc/self/fd").length;
  // Besides one socket a probe: an accepted one, and what the rest of the process may need.
  const room = Number(limit ?? MOST_SOCKETS) - open - 64;
  if (room < 16) {
    throw new WeftError("exhausted", `${open} of ${limit} files are open: no room for probes`, {
      hint: "Raise the limit of open files (ulimit -n, LimitNOFILE).",
    });
  }
  return Math.min(room, MOST_SOCKETS);
}

function progressReporter(options: CheckOptions, begin: number, total: number): (done: number) => void {
  const { onProgress } = options;
  if (onProgress === undefined) return () => {};
  let next = begin + FIRST_PROGRESS_MS;
  return (done) => {
    const now = performance.now();
    if (now < next) return;
    next = now + PROGRESS_EVERY_MS;
    onProgress({ done, total, elapsedMs: Math.round(now - begin) });
  };
}

async function askDrift(input: CheckInput, errors: SetupError[]): Promise<CheckReport["drift"]> {
  if (input.drift === undefined) return undefined;
  try {
    return await input.drift();
  } catch (error) {
    errors.push(setupError("drift", "what differs from the plan cannot be read", error));
    return undefined;
  }
}

function readCounters(input: CheckInput, errors: SetupError[]): readonly PacketCounter[] | undefined {
  try {
    return input.barePackets?.();
  } catch (error) {
    errors.push(setupError("bare packets", "the counters cannot be read", error));
    return undefined;
  }
}

function increase(
  before: readonly PacketCounter[] | undefined,
  after: readonly PacketCounter[] | undefined,
): PacketCounter[] | undefined {
  if (before === undefined || after === undefined) return undefined;
  const earlier = new Map(before.map((counter) => [counter.name, counter.packets]));
  return after.map(({ name, packets }) => {
    const base = earlier.get(name) ?? 0;
    // One that is lower than before was made anew in between, and counted from zero.
    return { name, packets: packets < base ? packets : packets - base };
  });
}

function summaryOf({ name, kind, node, addresses }: Endpoint): EndpointSummary {
  return { name, kind, node, addresses };
}

/** Failures end in the order of their timeouts; a report has them in the order of its endpoints. */
function inOrder(failures: readonly CheckFailure[], endpoints: readonly Endpoint[]): CheckFailure[] {
  const place = new Map(endpoints.map((e, i) => [e.name, i]));
  const rank = (f: CheckFailure): number => place.get(f.from)! * endpoints.length + place.get(f.to)!;
  const probes = ["tcp", "udp", "mtu", "mtu+1"];
  return [...failures].sort(
    (a, b) => rank(a) - rank(b) || a.family - b.family || probes.indexOf(a.probe) - probes.indexOf(b.probe),
  );
}
