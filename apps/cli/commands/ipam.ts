/** weft ipam: who has which address, how full pools and nodes are, whether it all fits together, and freeing what leaked. */
import { isIp, WeftError } from "@weft/base";
import { listAll, PODS } from "@weft/cluster/client";
import { DEFAULT_NAMESPACE } from "@weft/install";
import { checkCluster, find, type Holding, usageReport } from "@weft/ipam/inspect";
import type { AddressOrigin, SecondsLeft } from "@weft/model";
import type { Command } from "commander";
import { askAgent } from "../agent-client.ts";
import { example } from "../help.ts";
import { gather, type IpamWhere, type Sources, sourcesOf } from "../ipam-state.ts";
import { paint, print, printJson, reportError } from "../output.ts";
import { renderAnswer, renderFindings, renderUsage } from "./ipam-render.ts";

interface Flags extends IpamWhere {
  readonly json?: boolean;
}

const withSources = (command: Command): Command =>
  command
    .option(
      "--kubeconfig <file>",
      "ask the API of that cluster (default: KUBECONFIG, a pod's service account)",
    )
    .option("--context <name>", "context of the kubeconfig")
    .option("--socket <path>", "ask one agent")
    .option("--lab <name>", "ask that lab")
    .option("--json", "everything, as JSON");

export function ipamCommand(program: Command): void {
  const ipam = program
    .command("ipam")
    .description("addresses: who has them, how full ranges are, whether it all fits together");
  example(ipam, "weft ipam show", "weft ipam show 10.244.1.5", "weft ipam check");

  const show = withSources(
    ipam
      .command("show [what]")
      .description(
        "use of pools and nodes; or of one address, pool, block, node, namespace/pod or container",
      ),
  ).action(showAction);
  example(
    show,
    "weft ipam show",
    "weft ipam show 10.244.1.5",
    "weft ipam show shop/web-1",
    "weft ipam show --json | jq '.pools[] | select(.used > .size * 0.8)'",
  );

  const check = withSources(
    ipam
      .command("check")
      .description(
        "compare pods, blocks, pools, nodes and ledgers: exit code 0 when they fit together, 1 when not, 2 when not all could be asked",
      ),
  ).action(checkAction);
  example(check, "weft ipam check", "weft ipam check --json | jq '.findings[].message'");

  const release = withSources(
    ipam
      .command("release <what>")
      .description(
        "free the addresses of an address, namespace/pod or container on its node, unless it lives",
      )
      .option("--force", "also while it lives: it loses its network"),
  ).action(releaseAction);
  example(
    release,
    "weft ipam release 10.244.1.5",
    "weft ipam release shop/web-1 --force",
    "kubectl -n weft-system exec ds/weft-agent -- weft ipam release 10.244.1.5",
  );
}

async function showAction(what: string | undefined, flags: Flags): Promise<void> {
  const { state, full, errors } = await gather(sourcesOf(flags));
  const warnings = errors.map((e) => paint("yellow", `! ${e}`)).join("\n");
  if (what === undefined) {
    const report = usageReport(state, (pool) => secondsUntil(full.get(pool), state.now));
    if (flags.json === true) printJson({ ...report, errors });
    else print([renderUsage(report), warnings].filter((p) => p !== "").join("\n\n"));
  } else {
    const answer = find(state, what);
    if (answer === undefined) {
      throw new WeftError("not-found", `nothing is known of "${what}"`, {
        hint:
          state.api === undefined
            ? "Only agents were asked: with --kubeconfig the whole cluster is. There is: weft ipam show."
            : "Name an address, a pool, a block, a node, namespace/pod, or a container. There is: weft ipam show.",
      });
    }
    if (flags.json === true) printJson({ ...answer, errors });
    else print([renderAnswer(answer, state), warnings].filter((p) => p !== "").join("\n\n"));
  }
  if (errors.length > 0) process.exitCode = 1;
}

/** Of what the controller wrote: a time, or "never". */
function secondsUntil(text: string | undefined, now: number): SecondsLeft {
  if (text === undefined) return undefined;
  if (text === "never") return null;
  const time = Date.parse(text);
  return Number.isNaN(time) ? undefined : Math.max(0, Math.round((time - now) / 1000));
}

async function checkAction(flags: Flags): Promise<void> {
  let gathered: Awaited<ReturnType<typeof gather>>;
  try {
    gathered = await gather(sourcesOf(flags));
  } catch (error) {
    reportError(error);
    if (flags.json === true) printJson({ findings: [], errors: [String((error as Error).message)] });
    process.exitCode = 2;
    return;
  }
  const { state, errors } = gathered;
  const findings = checkCluster(state);
  const asked = {
    api: state.api?.server,
    agents: state.agents.map((a) => a.node),
    pods: state.api?.pods.length,
    blocks: state.api?.blocks.length,
  };
  if (flags.json === true) printJson({ findings, errors, asked });
  else print(renderFindings(findings, state, errors));
  if (findings.length > 0) process.exitCode = 1;
  else if (errors.length > 0) process.exitCode = 2;
}

interface ReleaseAnswer {
  readonly node: string;
  readonly released: readonly { id: string; addresses: readonly string[]; origin: AddressOrigin }[];
  readonly refused: readonly {
    id?: string;
    addresses: readonly string[];
    origin?: AddressOrigin;
    why: string;
  }[];
}

async function releaseAction(what: string, flags: Flags & { force?: boolean }): Promise<void> {
  const sources = sourcesOf(flags);
  const answers: ReleaseAnswer[] = [];
  for (const agent of sources.agents) {
    const body = { what, force: flags.force === true };
    answers.push(await askAgent<ReleaseAnswer>(agent, "POST", "/v1/ipam/release", body));
  }
  const known = answers.filter((a) => a.released.length + a.refused.length > 0);
  if (known.length === 0) await elsewhere(what, sources, flags.force === true);
  if (flags.json === true) printJson({ answers: known });
  for (const { node, released, refused } of known) {
    if (flags.json === true) break;
    for (const r of released)
      print(
        `${node}: ${r.addresses.join(", ")} of ${r.origin.pod ?? r.origin.containerId ?? r.id} ${r.addresses.length === 1 ? "is" : "are"} free`,
      );
    for (const r of refused)
      print(`${node}: ${paint("yellow", "not released:")} ${r.addresses.join(", ")}: ${r.why}`);
  }
  if (known.some((a) => a.refused.length > 0)) {
    process.exitCode = 1;
    if (flags.json !== true && known.some((a) => a.refused.some((r) => r.id !== undefined)))
      print("With --force it loses its network all the same.");
  }
}

/** No agent that could be asked has it: throws, and says where it is. */
async function elsewhere(what: string, sources: Sources, force: boolean): Promise<never> {
  const { client } = sources;
  const notFound = new WeftError("not-found", `no agent that was asked has "${what}"`, {
    hint: "Run it on the node of the pod; weft ipam show with --kubeconfig says which that is.",
  });
  if (client === undefined) throw notFound;
  const { state } = await gather({ client, agents: [] });
  const holding = find(state, what)?.holdings.find((h: Holding) => h.origin.node !== "");
  if (holding === undefined) {
    throw new WeftError("not-found", `the API knows nobody who has "${what}"`, {
      hint: isIp(what)
        ? "It is free, or its node has not told yet: weft ipam check."
        : "There is: weft ipam show.",
    });
  }
  const { node } = holding.origin;
  const pod = await agentPod(client, node);
  const words = `weft ipam release ${what}${force ? " --force" : ""}`;
  throw new WeftError("unsupported", `"${what}" is node ${node}'s, whose agent is to release it`, {
    hint:
      pod === undefined
        ? `Run on that node: ${words}`
        : `Run: kubectl -n ${DEFAULT_NAMESPACE} exec ${pod} -- ${words}`,
  });
}

async function agentPod(client: NonNullable<Sources["client"]>, node: string): Promise<string | undefined> {
  const place = { namespace: DEFAULT_NAMESPACE };
  const [pod] = await listAll(client, PODS, place, {
    labelSelector: "app.kubernetes.io/name=weft,app.kubernetes.io/component=agent",
    fieldSelector: `spec.nodeName=${node}`,
  });
  return pod?.metadata.name;
}
