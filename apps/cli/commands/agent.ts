/** weft agent: the node agent itself, and words to a running one. */

import { WeftError } from "@weft/base";
import { type Command, Option } from "commander";
import { askAgent, findAgents, type Where } from "../agent-client.ts";
import { example } from "../help.ts";
import { print, printJson } from "../output.ts";
import { nodeCommands } from "./agent-node.ts";

export function agentCommand(program: Command): void {
  const agent = program
    .command("agent")
    .description("run the node agent, or tell a running one something")
    .option("--node <name>", "name of this node's Node object (default: the host name)")
    .option("--root <directory>", "prefix of every path that the agent uses", "/")
    .option("--cluster <directory>", "directory of Node manifests (default: ROOT/etc/weft/cluster)")
    .option("--kubeconfig <file>", "read the cluster from the Kubernetes API (in a pod: its service account)")
    .option(
      "--services <directory>",
      "directory of Service and EndpointSlice manifests (default: --cluster's)",
    )
    .option("--settings <file>", "settings of the network (default: ROOT/etc/weft/settings.yaml)")
    .addOption(
      new Option("--only <part>", "run a part of it: services, beside another network plugin").choices([
        "services",
      ]),
    )
    .option("--sysctls <directory>", "where /proc/sys can be written, when not there")
    .action(
      async (flags: {
        only?: "services";
        node?: string;
        root: string;
        cluster?: string;
        kubeconfig?: string;
        services?: string;
        settings?: string;
        sysctls?: string;
      }) => {
        const { agentOptions, startAgent, startServicesAgent } = await import("@weft/agent");
        const start = flags.only === "services" ? startServicesAgent : startAgent;
        const running = await start(agentOptions(flags));
        const stop = (): void => void running.stop().then(() => process.exit(0));
        process.on("SIGTERM", stop);
        process.on("SIGINT", stop);
      },
    );
  example(agent, "weft agent --node node1 --cluster /etc/weft/cluster", "weft agent --only services");
  nodeCommands(agent);

  const pause = agent
    .command("pause")
    .description("leave drift alone for a while: nothing that others change is put right")
    .requiredOption("--for <duration>", "how long: 30s, 1m, 2h; 0 ends a pause")
    .option("--socket <path>", "socket of the agent")
    .option("--lab <name>", "all agents of that lab")
    .option("--only <node>", "of a lab: only that node's agent")
    .option("--json", "each agent's answer as JSON")
    .action(async (flags: Where & { for: string; only?: string; json?: boolean }) => {
      const milliseconds = parseDuration(flags.for);
      const agents = findAgents(flags).filter((a) => flags.only === undefined || a.node === flags.only);
      if (agents.length === 0) throw new WeftError("not-found", `the lab has no node ${flags.only}`);
      const answers: unknown[] = [];
      for (const a of agents) {
        const answer = await askAgent(a, "POST", "/v1/pause", { milliseconds });
        answers.push({ node: a.node, ...(answer as object) });
        if (flags.json === true) continue;
        print(
          `${a.node === "" ? "the agent" : a.node}: repair ${milliseconds > 0 ? `is paused for ${flags.for}` : "goes on"}`,
        );
      }
      if (flags.json === true) printJson(answers);
    });
  example(pause, "weft agent pause --for 1m");
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** "90s" in milliseconds. Throws "invalid". */
export function parseDuration(text: string): number {
  const match = /^([0-9]{1,9})(ms|s|m|h)?$/.exec(text);
  const unit = match?.[2];
  if (match === null || (unit === undefined && match[1] !== "0")) {
    throw new WeftError("invalid", `"${text}" is no duration`, { hint: "Write it like 30s, 1m or 2h." });
  }
  return Number(match[1]) * (UNITS[unit ?? "s"] as number);
}
