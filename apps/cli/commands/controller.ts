/** weft controller: says of each node of a cluster whether its network works. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { createLogger, fdWriter, isIp, WeftError } from "@weft/base";
import type { Command } from "commander";
import { example } from "../help.ts";
import { print, printJson } from "../output.ts";
import { parseDuration } from "./agent.ts";

interface Flags {
  readonly namespace?: string;
  readonly identity?: string;
  readonly grace: string;
  readonly nodeGone: string;
  readonly readyFile?: string;
  readonly kubeconfig?: string;
  readonly metrics?: string;
}

/** "127.0.0.1:10248", "[::1]:10248". Throws "invalid". */
export function parseListen(text: string): { host: string; port: number } {
  const [, six, four, port] = /^(?:\[([^\]]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text) ?? [];
  const host = six ?? four ?? "";
  if (isIp(host) && host.includes(":") === (six !== undefined) && Number(port) >= 1 && Number(port) <= 65535)
    return { host, port: Number(port) };
  throw new WeftError("invalid", `"${text}" is no address and port`, {
    hint: "Write it like 127.0.0.1:10248 or [::1]:10248.",
  });
}

export function controllerCommand(program: Command): void {
  const controller = program
    .command("controller")
    .description("run the cluster's controller: it keeps nodes' conditions and address pools")
    .option("--namespace <name>", "namespace of agents and lease (default: that of the credentials)")
    .option(
      "--identity <name>",
      "begins its name in the election, which is unique (default: the host's name)",
    )
    .option("--grace <duration>", "how long an agent may be away before its node has no network", "60s")
    .option(
      "--node-gone <duration>",
      "how long after its Node object a node's blocks of pools are kept",
      "5m",
    )
    .option("--ready-file <file>", "where to say whether the API server answers, for weft controller ready")
    .option(
      "--metrics <address:port>",
      "where to answer GET /metrics, like 127.0.0.1:10248 (default: nowhere)",
    )
    .option("--kubeconfig <file>", "the cluster (in a pod: its service account)")
    .action(async (flags: Flags) => {
      const metrics = flags.metrics === undefined ? undefined : parseListen(flags.metrics);
      const grace = parseDuration(flags.grace);
      if (grace <= 0) {
        throw new WeftError("invalid", `--grace ${flags.grace} is no time`, { hint: "Write it like 60s." });
      }
      const nodeGone = parseDuration(flags.nodeGone);
      if (nodeGone <= 0) {
        throw new WeftError("invalid", `--node-gone ${flags.nodeGone} is no time`, {
          hint: "Write it like 5m.",
        });
      }
      const { createClient, loadCredentials } = await import("@weft/cluster/client");
      const { runController } = await import("@weft/controller");
      const { VERSION } = await import("@weft/agent");
      // Of a container that was started again.
      if (flags.readyFile !== undefined) rmSync(flags.readyFile, { force: true });
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
        // A process that was started again in its pod is another one: it must not take itself for the last holder.
        identity: `${flags.identity ?? hostname()}_${crypto.randomUUID().slice(0, 8)}`,
        grace,
        nodeGone,
        ...(metrics === undefined ? {} : { metrics }),
        logger,
        signal: stopping.signal,
        onContact: (fault) => {
          if (flags.readyFile !== undefined) writeFileSync(flags.readyFile, fault ?? "");
        },
      });
      client.close();
      process.exit(0);
    });
  example(controller, "weft controller --kubeconfig ~/.kube/config --namespace weft-system");

  const ready = controller
    .command("ready")
    .description("exit code 0 when the controller beside this has reached the API server")
    .requiredOption("--file <file>", "what the controller was given as --ready-file")
    .option("--json", "the answer as JSON")
    .action(({ file, json }: { file: string; json?: boolean }) => {
      const fault = existsSync(file) ? readFileSync(file, "utf8") : "the controller is starting";
      if (fault === "") return json === true ? printJson({ ready: true }) : print("ready");
      throw new WeftError("unavailable", fault, {
        hint: "Is the address right that was given to weft install as --api-server?",
      });
    });
  example(ready, "weft controller ready --file /tmp/ready");
}
