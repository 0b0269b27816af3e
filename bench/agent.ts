/**
 * What Weft takes when nothing happens: memory and CPU of the agent without pods and with many, and the objects
 * that it holds in the kernel, beside those of the reference plugins for the same pods. These have no agent, so
 * memory and CPU stand alone.
 */
import { readdirSync } from "node:fs";
import { WeftError } from "@weft/base";
import { spawnSyncIn } from "@weft/kernel/netns";
import type { RealNamespace } from "@weft/kernel/rtnetlink";
import { fill, podIn } from "./cni/runner.ts";
import { describeMachine } from "./machine.ts";
import type { BenchOptions } from "./options.ts";
import { readRollup, readStat } from "./proc.ts";
import type { Figure, Report } from "./report.ts";
import type { Session } from "./session/session.ts";
import { startBothSides } from "./sides/both.ts";
import { REFERENCE_PACKAGE, referenceName } from "./sides/bridge.ts";

const SECONDS = 30;
const SETTLE_MS = 6000;

/** What an agent takes at rest. */
interface Rest {
  readonly rss: number;
  readonly pss: number;
  /** Seconds of CPU in a minute. */
  readonly cpu: number;
  readonly threads: number;
  readonly descriptors: number;
}

export async function benchAgent(
  session: Session,
  options: BenchOptions,
  say: (text: string) => void,
): Promise<Report> {
  const seconds = options.seconds || SECONDS;
  const { agent, nodes, sides } = await startBothSides(session);
  say(`no pods: ${seconds} s at rest`);
  const idle = await atRest(agent, seconds);
  for (const side of sides) {
    await fill(
      side,
      Array.from({ length: options.pods }, () => podIn(session.pod())),
    );
  }
  say(`${options.pods} pods: ${seconds} s at rest`);
  const full = await atRest(agent, seconds);
  return {
    suite: "agent",
    peer: referenceName(),
    figures: [
      ...restFigures("no pods", idle),
      ...restFigures(`${options.pods} pods`, full),
      ...objectFigures(options.pods, countObjects(nodes.weft), countObjects(nodes.peer)),
    ],
    notes: [
      "the peer has no agent: it repairs nothing and watches nothing",
      "PSS counts a page that several processes have by its share, RSS in full",
      "kernel objects are those of the node's namespace",
    ],
    machine: describeMachine(session.weft, [REFERENCE_PACKAGE]),
    command: `node_modules/.bin/bun run bench/run.ts agent --pods ${options.pods} --seconds ${seconds}`,
    date: new Date().toISOString().slice(0, 10),
  };
}

async function atRest(pid: number, seconds: number): Promise<Rest> {
  await Bun.sleep(Math.min(SETTLE_MS, seconds * 1000));
  const before = readStat(pid).cpuSeconds;
  const started = performance.now();
  await Bun.sleep(seconds * 1000);
  const elapsed = (performance.now() - started) / 1000;
  const { cpuSeconds, threads } = readStat(pid);
  return {
    ...readRollup(pid),
    cpu: ((cpuSeconds - before) / elapsed) * 60,
    threads,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

function restFigures(what: string, rest: Rest): Figure[] {
  const alone = (name: string, unit: Figure["unit"], weft: number): Figure => ({
    name: `agent, ${what}, ${name}`,
    unit,
    weft,
    peer: undefined,
    better: "lower",
  });
  return [
    alone("RSS", "MiB", rest.rss / 2 ** 20),
    alone("PSS", "MiB", rest.pss / 2 ** 20),
    alone("CPU in a minute at rest", "s", rest.cpu),
    alone("threads", "count", rest.threads),
    alone("open descriptors", "count", rest.descriptors),
  ];
}

type Objects = Readonly<Record<(typeof OBJECTS)[number], number>>;
const OBJECTS = [
  "links",
  "addresses",
  "routes",
  "neighbours",
  "bridge forwarding entries",
  "nftables rules",
  "nftables elements",
] as const;

function countObjects(node: RealNamespace): Objects {
  const forwarding = run(node, ["bridge", "-json", "fdb", "show"]);
  const nft = parseRuleset(run(node, ["nft", "--json", "list", "ruleset"]));
  return {
    links: node.links().length,
    addresses: node.addresses().length,
    routes: node.routes().length,
    neighbours: node.neighbours().length,
    "bridge forwarding entries": forwarding === "" ? 0 : (JSON.parse(forwarding) as unknown[]).length,
    "nftables rules": nft.rules,
    "nftables elements": nft.elements,
  };
}

/** Counts of `nft --json list ruleset`. */
export function parseRuleset(json: string): { readonly rules: number; readonly elements: number } {
  const document = JSON.parse(json) as {
    nftables?: { rule?: object; set?: { elem?: unknown[] }; map?: { elem?: unknown[] } }[];
  };
  if (!Array.isArray(document.nftables)) {
    throw new WeftError("invalid", "nft printed no list of objects", { object: "nft --json list ruleset" });
  }
  return {
    rules: document.nftables.filter((o) => o.rule !== undefined).length,
    elements: document.nftables.reduce((n, o) => n + (o.set?.elem ?? o.map?.elem ?? []).length, 0),
  };
}

function run(node: RealNamespace, argv: string[]): string {
  const { exitCode, stdout, stderr } = spawnSyncIn(node, argv);
  if (exitCode === 0) return stdout.toString().trim();
  throw new WeftError("unavailable", `${argv.join(" ")}: ${stderr.toString().trim()}`);
}

function objectFigures(pods: number, weft: Objects, peer: Objects): Figure[] {
  return OBJECTS.map((name) => ({
    name: `node, ${pods} pods, ${name}`,
    unit: "count",
    weft: weft[name],
    peer: peer[name],
    better: "lower",
  }));
}
