/**
 * Runs upstream's own conformance specs of the network on a cluster of its own. Started by ../conformance, which has
 * set up what is needed and says what the options are.
 */
import { linkSync } from "node:fs";
import { join, relative } from "node:path";
import { describeError, hintOf, isInvalid } from "@weft/base";
import { buildPrograms } from "../build/programs.ts";
import { buildUpstream } from "../build/upstream.ts";
import { type Cluster, startCluster } from "../cluster.ts";
import { diagnose } from "../diagnose.ts";
import { removeLeftovers } from "../machines/leftovers.ts";
import { bridgeNetwork } from "../networks/bridge.ts";
import { weftNetwork } from "../networks/weft.ts";
import { CACHE, CHECKOUT, PROGRAMS } from "../paths.ts";
import { say, step } from "../progress.ts";
import { deployDNS } from "./dns.ts";
import { runSpecs } from "./ginkgo.ts";
import { archiveUpstreamImages } from "./images.ts";
import { type Options, parseOptions, USAGE } from "./options.ts";
import { renderSpecs, type Spec, summaryOf } from "./report.ts";

/** Set once the run was interrupted. */
let ending: Promise<void> | undefined;

function interrupted(signal: NodeJS.Signals): void {
  if (ending !== undefined) return;
  say(`${signal}: removing everything`);
  ending = removeLeftovers().finally(() => process.exit(130));
}

async function start({ network, services, backend, families }: Options): Promise<Cluster> {
  const programs = await buildPrograms();
  const upstream = await buildUpstream();
  for (const program of [upstream.e2eTest, upstream.ginkgo]) linkSync(program, join(PROGRAMS, name(program)));
  const images = await archiveUpstreamImages(upstream, {
    busybox: join(CACHE, "debian/bin/busybox"),
    pause: programs.pause,
  });
  const cluster = await step(`${network}: cluster up`, () =>
    startCluster({
      name: "conf",
      families,
      racks: [1, 1],
      network: network === "weft" ? weftNetwork({ backend }) : bridgeNetwork(),
      kubeProxy: services === "kube-proxy",
      programs: { ...programs, images: [...programs.images, ...images] },
    }),
  );
  await showPods(cluster);
  await step("DNS ready", () => deployDNS(cluster));
  return cluster;
}
const name = (path: string): string => path.slice(path.lastIndexOf("/") + 1);

/**
 * The API server proxies to pods, but its machine is no node: it is told the way to them, as a host on the nodes'
 * subnet is where the fabric knows pods.
 */
async function showPods({ controlPlane, nodes }: Cluster): Promise<void> {
  for (const { podCIDRs, addresses } of nodes) {
    for (const [i, range] of podCIDRs.entries()) {
      await controlPlane.exec(["ip", "route", "replace", range, "via", addresses[i] as string]);
    }
  }
}

const placeOf = ({ network, services, families }: Options): string =>
  services === "weft" ? `${network}-services-${families}` : `${network}-${families}`;

async function conformance(options: Options): Promise<readonly Spec[]> {
  const results = join(CACHE, "conformance", placeOf(options));
  const cluster = await start(options);
  try {
    const specs = await step("specs", () => runSpecs(cluster, options, results));
    if (specs.some((s) => s.verdict === "failed")) say(`more in ${await diagnose(cluster, "conformance")}`);
    say(`reports and output: ${relative(CHECKOUT, results)}`);
    if (options.hold) {
      const { pid } = cluster.controlPlane;
      console.log(renderSpecs(specs, process.stdout.columns));
      say(`the cluster stays until Ctrl-C; kubectl: nsenter --target ${pid} --all kubectl`);
      await new Promise(() => {});
    }
    return specs;
  } finally {
    await step("cluster removed", () => cluster.stop());
  }
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options === undefined) {
    console.log(USAGE);
    return 0;
  }
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => interrupted(signal));
  await removeLeftovers();
  const specs = await conformance(options);
  if (specs.length === 0) say("no spec was chosen: see --focus and --skip");
  console.log(renderSpecs(specs, process.stdout.columns));
  console.log(summaryOf(specs));
  return specs.length > 0 && specs.every((s) => s.verdict !== "failed") ? 0 : 1;
}

try {
  const code = await main();
  await ending;
  process.exit(code);
} catch (error) {
  await ending;
  const hint = hintOf(error);
  console.error(`conformance: ${describeError(error)}${hint === undefined ? "" : `\n             ${hint}`}`);
  process.exit(isInvalid(error) ? 2 : 1);
}
