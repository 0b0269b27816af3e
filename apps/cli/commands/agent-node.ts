/** What a node's own pods and its administrator ask of a node: is the agent ready, is it alive, place the plugin, clean up. */
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { WeftError } from "@weft/base";
import { SOCKET_PATH } from "@weft/plugin-weft";
import type { Command } from "commander";
import { askAgent } from "../agent-client.ts";
import { example } from "../help.ts";
import { print, printJson } from "../output.ts";

export function nodeCommands(agent: Command): void {
  const ready = agent
    .command("ready")
    .description("exit code 0 when the agent of this node serves pods, else say what it waits for")
    .option("--socket <path>", "socket of the agent", SOCKET_PATH)
    .option("--json", "the answer as JSON")
    .action(async ({ socket, json }: { socket: string; json?: boolean }) => {
      await askAgent({ node: "", socket }, "POST", "/v1/cni/status", {});
      if (json === true) printJson({ ready: true });
      else print("ready");
    });
  example(ready, "weft agent ready");

  const alive = agent
    .command("alive")
    .description("exit code 0 when the agent of this node answers, ready or not")
    .option("--socket <path>", "socket of the agent", SOCKET_PATH)
    .option("--json", "the answer as JSON")
    .action(async ({ socket, json }: { socket: string; json?: boolean }) => {
      await askAgent({ node: "", socket }, "POST", "/v1/alive", {});
      if (json === true) printJson({ alive: true });
      else print("alive");
    });
  example(alive, "weft agent alive");

  const place = agent
    .command("place")
    .description("put the plugin's files into a directory of CNI plugins, each whole or not at all")
    .requiredOption("--to <directory>", "the runtime's directory of plugins")
    .option("--shim <file>", "the plugin's shim (default: what the build has put beside the executable)")
    .option("--json", "what was written as JSON")
    .action(async (flags: { to: string; shim?: string; json?: boolean }) => {
      const { placePlugin } = await import("@weft/agent");
      const shim = flags.shim ?? shimBeside(process.execPath);
      const written = placePlugin({ to: flags.to, executable: process.execPath, shim });
      if (flags.json === true) printJson({ written });
      else
        print(written.length === 0 ? `${flags.to} has this version already` : `wrote ${written.join(", ")}`);
    });
  example(place, "weft agent place --to /opt/cni/bin");

  const cleanup = agent
    .command("cleanup")
    .description("remove all of Weft from this node: links, routes, rules, tables, plugin, state")
    .option("--root <directory>", "prefix of every path", "/")
    .option("--force", "also while pods are attached: they lose their network")
    .option("--json", "the report as JSON")
    .action(async (flags: { root: string; force?: boolean; json?: boolean }) => {
      const { cleanNode, isTaken, socketBelow } = await import("@weft/agent");
      const { openKernel } = await import("@weft/kernel");
      const root = flags.root.replace(/\/+$/, "");
      const socket = socketBelow(root);
      refuseWhileAgentRuns(isTaken(dirname(socket)), socket);
      const kernel = openKernel();
      const report = await cleanNode({ kernel, root, force: flags.force === true });
      kernel.close();
      if (flags.json === true) printJson(report);
      else {
        for (const what of report.removed) print(`removed ${what}`);
        for (const what of report.left) print(`LEFT ${what}`);
        if (report.left.length === 0) print("nothing of Weft is left on this node");
      }
      if (report.left.length > 0) process.exitCode = 1;
    });
  example(cleanup, "weft agent cleanup");
}

/** The plugin's shim as scripts/build.ts names it; undefined where no compiler was there. */
export function shimBeside(executable: string): string | undefined {
  const shim = `${executable}-cni`;
  return existsSync(shim) ? shim : undefined;
}

/** What it would remove, a running agent would make again: one that hangs as well, and one for services only. */
function refuseWhileAgentRuns(taken: boolean, socket: string): void {
  if (!taken) return;
  throw new WeftError("busy", "the agent runs on this node", {
    object: socket,
    hint: "Stop it first; in a cluster, use: weft uninstall",
  });
}
