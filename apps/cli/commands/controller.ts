/** weft controller: says of each node of a cluster whether its network works. */
import { hostname } from "node:os";
import { createLogger, fdWriter, WeftError } from "@weft/base";
import type { Command } from "commander";
import { example } from "../help.ts";
import { parseDuration } from "./agent.ts";

export function controllerCommand(program: Command): void {
  const controller = program
    .command("controller")
    .description("run the cluster's controller: it says of each node whether its network works")
    .option("--namespace <name>", "namespace of agents and lease (default: that of the credentials)")
    .option("--identity <name>", "unique among controllers (default: host name and process)")
    .option("--grace <duration>", "how long an agent may be away before its node has no network", "60s")
    .option("--kubeconfig <file>", "the cluster (in a pod: its service account)")
    .action(
      async (flags: { namespace?: string; identity?: string; grace: string; kubeconfig?: string }) => {
        const grace = parseDuration(flags.grace);
        if (grace <= 0) {
          throw new WeftError("invalid", `--grace ${flags.grace} is no time`, { hint: "Write it like 60s." });
        }
        const { createClient, loadCredentials } = await import("@weft/cluster/client");
        const { runController } = await import("@weft/controller");
        const { VERSION } = await import("@weft/agent");
        const logger = createLogger(fdWriter(2));
        const client = createClient({
          credentials: loadCredentials(flags.kubeconfig === undefined ? {} : { path: flags.kubeconfig }),
          userAgent: `weft-controller/${VERSION}`,
          logger,
        });
        const stopping = new AbortController();
        for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => stopping.abort());
        const namespace = flags.namespace ?? client.namespace;
        logger.info("starting", { version: VERSION, server: client.server, namespace });
        await runController({
          client,
          namespace,
          identity: flags.identity ?? `${hostname()}-${process.pid}`,
          grace,
          logger,
          signal: stopping.signal,
        });
        client.close();
        process.exit(0);
      },
    );
  example(controller, "weft controller --kubeconfig ~/.kube/config --namespace weft-system");
}
