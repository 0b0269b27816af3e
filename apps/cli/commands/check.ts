/** weft check: proves the network model on a running lab, or between the pods of this node. */

import { type IpAddress, prefixIp, WeftError } from "@weft/base";
import { type CheckInput, type CheckNode, type CheckPod, checkNetwork, renderReport } from "@weft/check";
import { barePackets, labPlan } from "@weft/lab";
import type { AgentStatus, Drift } from "@weft/model";
import type { Command } from "commander";
import { type AgentAddress, askAgent, findAgents, labName, type Where } from "../agent-client.ts";
import { example } from "../help.ts";
import { colorOut, print, printJson, terminalWidth } from "../output.ts";
import { parseDuration } from "./agent.ts";

interface Flags extends Where {
  readonly json?: boolean;
  readonly timeout: string;
  readonly maxPairs: string;
}

export function checkCommand(program: Command): void {
  const check = program
    .command("check")
    .description("prove that every pod and node reaches every other, untranslated, with the promised MTU")
    .option("--json", "the whole report, as JSON")
    .option("--timeout <duration>", "how long one probe waits", "1s")
    .option("--max-pairs <n>", "more pairs than this are sampled", "4000")
    .option("--socket <path>", "socket of this node's agent: checks the pods of this node")
    .option("--lab <name>", "the lab to check")
    .action(async (flags: Flags) => {
      const maxPairs = Number(flags.maxPairs);
      if (!Number.isInteger(maxPairs) || maxPairs < 1) {
        throw new WeftError("invalid", `--max-pairs ${flags.maxPairs} is no number of pairs`, {
          hint: "Write a whole number from 1.",
        });
      }
      const report = await checkNetwork(await gather(flags), {
        timeoutMs: parseDuration(flags.timeout),
        maxPairs,
        ...(flags.json === true || !colorOut() ? {} : { onProgress: showProgress }),
      });
      if (flags.json === true) printJson(report);
      else print(renderReport(report, { width: terminalWidth(), color: colorOut() }));
      process.exitCode = report.ok ? 0 : 1;
    });
  example(check, "weft check", "weft check --json | jq .failures");
}

const showProgress = (p: { done: number; total: number }): void => {
  process.stderr.write(`\r\x1b[Kchecking: ${p.done} of ${p.total} probes${p.done >= p.total ? "\n" : ""}`);
};

/** What is to be reached, what the plan says, and who else filters. */
async function gather(where: Where): Promise<CheckInput> {
  const lab = labName(where);
  const agents = findAgents(where);
  const statuses = await Promise.all(agents.map((a) => askAgent<AgentStatus>(a, "GET", "/v1/status")));
  const common = {
    drift: async (): Promise<Drift[]> => (await Promise.all(agents.map(driftOf))).flat(),
    foreignChains: statuses.flatMap((s) => s.foreignChains.map((c) => ({ node: s.node, ...c }))),
  };
  const promised = new Map(statuses.map((s) => [s.node, s.context?.podMtu ?? 0]));
  if (lab === undefined) return { ...common, nodes: statuses.map(ownNode), pods: statuses.flatMap(ownPods) };
  const plan = await labPlan(lab);
  return {
    ...common,
    nodes: plan.nodes.map((n) => ({
      name: n.name,
      namespacePath: n.namespacePath,
      addresses: n.addresses as IpAddress[],
    })),
    pods: plan.pods.map((p) => ({
      namespace: p.namespace,
      name: p.name,
      node: p.node,
      hostNetwork: p.hostNetwork,
      namespacePath: p.namespacePath,
      interface: p.interface ?? "",
      addresses: p.addresses as IpAddress[],
      mtu: promised.get(p.node) ?? 0,
    })),
    barePackets: () => {
      const { ipv4, ipv6 } = barePackets(lab);
      return [
        { name: "spine IPv4", packets: ipv4 },
        { name: "spine IPv6", packets: ipv6 },
      ];
    },
  };
}

const driftOf = (agent: AgentAddress): Promise<Drift[]> => askAgent(agent, "GET", "/v1/drift");

const ownNode = (s: AgentStatus): CheckNode => ({
  name: s.node,
  namespacePath: "/proc/self/ns/net",
  addresses: s.underlay.flatMap((l) => l.addresses.map((a) => prefixIp(a))),
});

const ownPods = (s: AgentStatus): CheckPod[] =>
  s.workloads.map((w) => ({
    namespace: w.podNamespace ?? "",
    name: w.podName ?? w.containerId.slice(0, 12),
    node: s.node,
    hostNetwork: false,
    namespacePath: w.namespacePath,
    interface: w.interface,
    addresses: w.addresses,
    mtu: s.context?.podMtu ?? 0,
  }));
