/** weft lab: a many-node network on this machine. */
import { writeSync } from "node:fs";
import {
  DEFAULT_OPTIONS,
  type LabIo,
  labDown,
  labExec,
  labLogs,
  labStatus,
  labUp,
  parseLabOptions,
  runSupervisor,
} from "@weft/lab";
import type { Command } from "commander";
import { example } from "../help.ts";
import { print } from "../output.ts";

const NAME = ["--name <name>", "name of the lab, when there are several", DEFAULT_OPTIONS.name] as const;

function labIo(signal?: AbortSignal): LabIo {
  return {
    write: (text) => void writeSync(1, text),
    executable: process.execPath,
    ...(signal === undefined ? {} : { signal }),
  };
}

const finish = async (code: Promise<number>): Promise<void> => {
  process.exitCode = await code;
};

export function labCommand(program: Command): void {
  const lab = program
    .command("lab")
    .description("a many-node network on this machine: up, status, exec, logs, down");
  example(lab, "weft lab up --nodes 6 --racks 3", "weft lab exec node1 -- ip route", "weft lab down");
  up(lab);

  const status = lab
    .command("status")
    .description("nodes and pods of the lab, and its kubeconfig")
    .option(...NAME)
    .option("--json", "everything, as JSON")
    .action((flags: { name: string; json?: boolean }) =>
      finish(labStatus(flags.name, labIo(), { json: flags.json === true })),
    );
  example(status, "weft lab status");

  const exec = lab
    .command("exec")
    .description("run a command in the network of a node, a pod, a switch, the spine or the outside host")
    .argument("<target>", "node1, rack1, spine, outside, a pod's name, or namespace/name")
    .argument("<command...>", "the command, after --")
    .option(...NAME)
    .passThroughOptions()
    .action((target: string, command: string[], flags: { name: string }) =>
      finish(labExec(flags.name, target, command[0] === "--" ? command.slice(1) : command, labIo())),
    );
  example(exec, "weft lab exec echo-1 -- ping -c 1 10.244.2.2", "weft lab exec node1 -- ip route");

  const logs = lab
    .command("logs")
    .description("what a pod's containers have written")
    .argument("<pod>", "name, or namespace/name")
    .option("-c, --container <name>", "one container only")
    .option(...NAME)
    .action((pod: string, flags: { name: string; container?: string }) =>
      finish(
        labLogs(
          flags.name,
          pod,
          labIo(),
          flags.container === undefined ? {} : { container: flags.container },
        ),
      ),
    );
  example(logs, "weft lab logs echo-1");

  const down = lab
    .command("down")
    .description("remove the lab: its processes, namespaces and files")
    .option(...NAME)
    .action((flags: { name: string }) => finish(labDown(flags.name, labIo())));
  example(down, "weft lab down");

  lab
    .command("supervise", { hidden: true })
    .option(...NAME)
    .action((flags: { name: string }) => runSupervisor(flags.name, process.execPath));
}

function up(lab: Command): void {
  const d = DEFAULT_OPTIONS;
  const command = lab
    .command("up")
    .description("make the lab, or show the one that is up")
    .option(...NAME)
    .option("--nodes <n>", "number of nodes, 1 to 200", String(d.nodes))
    .option(
      "--racks <n>",
      "number of racks: each an L2 segment, joined by a routed spine (default: 2, or 1 for one node)",
    )
    .option("--pods <families>", "families of pod addresses: ipv4, ipv6, dual", d.pods)
    .option("--underlay <families>", "families of the network between nodes: ipv4, ipv6, dual", d.underlay)
    .option("--backend <name>", "how pods reach other nodes: auto, direct, vxlan", d.backend)
    .option("--hostile <what...>", "more trouble: forward-drop puts a foreign firewall on every node")
    .option(
      "--manifests <directory>",
      "directory of manifests to give to the API server, and to watch (default: samples)",
    )
    .action(async (flags: Record<string, unknown>) => {
      const control = new AbortController();
      const interrupt = (): void => {
        print("\nstopping: what was made is removed");
        control.abort(new Interrupted());
      };
      process.once("SIGINT", interrupt);
      process.once("SIGTERM", interrupt);
      try {
        process.exitCode = await labUp(parseLabOptions(flags), labIo(control.signal));
      } catch (error) {
        if (!(error instanceof Interrupted)) throw error;
        process.exitCode = 130;
      }
    });
  example(
    command,
    "weft lab up && export KUBECONFIG=/run/weft-lab/lab/kubeconfig && kubectl get nodes",
    "weft lab up --nodes 20 --racks 4 --backend vxlan",
    "weft lab up --name six --pods ipv6 --underlay ipv6",
  );
}

class Interrupted extends Error {}
