/** weft uninstall: Weft out of a cluster, and its nodes as they were. */
import { VERSION } from "@weft/agent";
import { checkOptions, uninstall } from "@weft/install";
import type { Command } from "commander";
import { example } from "../help.ts";
import { paint, print, printJson } from "../output.ts";
import { parseDuration } from "./agent.ts";
import { type ClusterFlags, clientOf, credentialsOf, say, withCluster } from "./cluster.ts";

export function uninstallCommand(program: Command): void {
  const command = withCluster(
    program
      .command("uninstall")
      .description("say what would be removed, or remove Weft from the cluster and clean its nodes")
      .option("--apply", "do it"),
  )
    .option("--force", "also while pods are on Weft's network: they lose it")
    .option("--image <name>", "image to clean nodes with (default: the agents')")
    .action(async (flags: ClusterFlags & { force?: boolean; image?: string }) => {
      const timeout = parseDuration(flags.timeout);
      const { namespace } = checkOptions(
        { namespace: flags.namespace, ...(flags.image === undefined ? {} : { image: flags.image }) },
        VERSION,
      );
      const apply = flags.apply === true;
      const client = clientOf(credentialsOf(flags));
      const report = await uninstall({
        client,
        namespace,
        apply,
        force: flags.force === true,
        image: flags.image,
        timeout,
        onStep: ({ object, action }) => say(`${apply ? "" : "would be: "}${object}: ${action}`),
      });
      client.close();
      if (flags.json === true) printJson({ applied: apply, namespace, ...report });
      else if (report.steps.length === 0) print(`there is no namespace ${namespace}: nothing to remove`);
      else if (apply) print(paint("green", `Weft is gone from ${report.nodes.length} nodes`));
      else print("nothing was changed: --apply does it");
    });
  example(command, "weft uninstall", "weft uninstall --apply");
}
