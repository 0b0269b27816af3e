/** weft migrate: from another network to Weft, node by node, and back. */
import { VERSION } from "@weft/agent";
import { WeftError } from "@weft/base";
import {
  checkOptions,
  finishMigration,
  type MigrationPlan,
  type MoveOptions,
  moveNode,
  planMigration,
  readFacts,
  startMigration,
} from "@weft/install";
import type { Command } from "commander";
import { example } from "../help.ts";
import { paint, print, printJson, table } from "../output.ts";
import { parseDuration } from "./agent.ts";
import { type ClusterFlags, clientOf, credentialsOf, say, withCluster } from "./cluster.ts";

interface MoveFlags extends ClusterFlags {
  readonly force?: boolean;
  readonly deleteEmptydirData?: boolean;
  readonly disableEviction?: boolean;
}

export function migrateCommand(program: Command): void {
  const migrate = program
    .command("migrate")
    .description("move a cluster from another network to Weft, node by node")
    .addHelpText(
      "after",
      `
In this order; each can be run again, and goes on where it was left:
  weft migrate plan               what there is, and what stands against it; changes nothing
  weft migrate start              Weft's agents keep off all nodes
  weft install --apply --no-wait  they are there, and run nowhere yet
  weft migrate node NAME          one node after the other; weft migrate back NAME takes it back
  weft migrate finish             once the other network is deleted`,
    );

  const plan = withCluster(
    migrate
      .command("plan")
      .alias("status")
      .description("say how far each node is, what stands against it, and what is next"),
  ).action(async (flags: ClusterFlags) => {
    const { client, namespace } = clusterOf(flags);
    const found = planMigration(await readFacts(client, namespace));
    client.close();
    if (flags.json === true) printJson(found);
    else print(render(found));
    if (found.remarks.some((r) => r.weight === "blocks")) process.exitCode = 1;
  });
  example(plan, "weft migrate plan", "weft migrate status --json | jq .next");

  const start = withCluster(
    migrate
      .command("start")
      .description("label all nodes, so that Weft's agents keep off until a node is moved"),
  ).action((flags: ClusterFlags) => labels(flags, startMigration, "agents keep off"));
  example(start, "weft migrate start");

  const finish = withCluster(
    migrate
      .command("finish")
      .description("take the labels away, once every node is Weft's and the other network is deleted"),
  ).action((flags: ClusterFlags) => labels(flags, finishMigration, "labels removed"));
  example(finish, "weft migrate finish");

  moving(
    migrate
      .command("node <name>")
      .description("move a node to Weft: its pods go, the agent comes, pods come again"),
    "weft",
  );
  moving(migrate.command("back <name>").description("move a node back to the network that it had"), "other");
  example(migrate, "weft migrate plan", "weft migrate node node1");
}

function moving(command: Command, to: MoveOptions["to"]): void {
  withCluster(command)
    .option("--force", "pods that nobody makes again may go, too")
    .option("--delete-emptydir-data", "pods may lose what they have in emptyDir volumes")
    .option("--disable-eviction", "delete pods, whatever disruption budgets say")
    .action(async (name: string, flags: MoveFlags) => {
      const { client, namespace } = clusterOf(flags);
      const report = await moveNode({
        client,
        namespace,
        node: name,
        to,
        force: flags.force === true,
        deleteLocalData: flags.deleteEmptydirData === true,
        disableEviction: flags.disableEviction === true,
        timeout: parseDuration(flags.timeout),
        onStep: (text) => say(`${name}: ${text}`),
      });
      client.close();
      const whose = to === "weft" ? "Weft" : "its former network";
      if (flags.json === true) printJson(report);
      else if (report.moved) print(paint("green", `${whose} serves ${name}`));
      else print(`${whose} serves ${name} already`);
      if (report.keepOldNetwork.length > 0) process.exitCode = 1;
    });
  example(command, `weft migrate ${to === "weft" ? "node" : "back"} node1`);
}

async function labels(flags: ClusterFlags, work: typeof startMigration, what: string): Promise<void> {
  const { client, namespace } = clusterOf(flags);
  const nodes = await work({ client, namespace, onStep: say });
  client.close();
  if (flags.json === true) printJson({ nodes });
  else print(nodes.length === 0 ? "nothing to do" : `${nodes.length} nodes: ${what}`);
}

function clusterOf(flags: ClusterFlags) {
  const credentials = credentialsOf(flags);
  if (credentials === undefined)
    throw new WeftError("invalid", "there is no kubeconfig", { hint: "Name the cluster with --kubeconfig." });
  const { namespace } = checkOptions({ namespace: flags.namespace }, VERSION);
  return { client: clientOf(credentials), namespace };
}

function render({ from, nodes, remarks, next }: MigrationPlan): string {
  const parts = [
    `From: ${from}`,
    table(
      ["NODE", "NETWORK", "AGENT", "READY", "PODS TO MAKE ANEW"],
      nodes.map((n) => [n.node, shown(n.state), n.agent, n.ready ? "yes" : "no", String(n.pods)]),
    ),
    ...remarks.map((r) => {
      const line = `${r.node === undefined ? "" : `${r.node}: `}${r.message}. ${r.hint}`;
      return r.weight === "blocks" ? paint("red", `! ${line}`) : paint("yellow", `- ${line}`);
    }),
    `Next: ${next}`,
  ];
  return parts.join("\n");
}

const shown = (state: MigrationPlan["nodes"][number]["state"]): string =>
  state === "Weft" ? paint("green", state) : state;
