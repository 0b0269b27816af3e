/** weft server: the embedded API server, and copies of its data. */
import { writeSync } from "node:fs";
import { createLogger, isIp, parseIp, parsePrefix, WeftError } from "@weft/base";
import type { Command } from "commander";
import { example } from "../help.ts";
import { print, printJson } from "../output.ts";

const DATA = "/var/lib/weft/server";

interface Flags {
  readonly data: string;
  readonly address: string;
  readonly port: string;
  readonly name?: string[];
  readonly socket?: string;
  readonly tokens?: string;
  readonly kubeconfig?: string;
  readonly serviceRange: string;
  readonly nodePorts: string;
  readonly json?: true;
}

export function serverCommand(program: Command): void {
  const server = program
    .command("server")
    .description("run an API server that kubectl works with, or copy its data")
    .option("--data <directory>", "where its data, certificates, socket and kubeconfig are", DATA)
    .option("--address <address>", "address to listen on", "127.0.0.1")
    .option("--port <port>", "port to listen on; 0 is any that is free", "6443")
    .option(
      "--name <name...>",
      "more names or addresses that clients know it by; the first goes into the kubeconfig",
    )
    .option("--socket <path>", "unix socket, for root (default: server.sock of the data)")
    .option("--tokens <file>", "bearer tokens that are let in, one a line")
    .option("--kubeconfig <file>", "kubeconfig to write (default: kubeconfig of the data)")
    .option(
      "--service-range <prefixes>",
      "addresses of Services, of one or both families",
      "10.96.0.0/16,fd00:10:96::/112",
    )
    .option("--node-ports <range>", "ports of Services on nodes", "30000-32767")
    .option("--json", "when it serves, print where as a line of JSON")
    .action(async (flags: Flags) => {
      const { startServer } = await import("@weft/server");
      const running = await startServer({
        data: flags.data,
        address: parseAddress(flags.address),
        port: parsePort(flags.port),
        names: (flags.name ?? []).map(parseName),
        socket: flags.socket,
        tokens: flags.tokens,
        kubeconfig: flags.kubeconfig,
        services: { ranges: parseRanges(flags.serviceRange), nodePorts: parsePorts(flags.nodePorts) },
        logger: createLogger((line) => writeSync(2, `${line}\n`)),
      });
      const stop = (): void => void running.stop().then(() => process.exit(0));
      process.on("SIGTERM", stop);
      process.on("SIGINT", stop);
      // Only now: whoever reads it may end the server at once.
      const { url, socket, kubeconfig, socketKubeconfig } = running;
      if (flags.json) print(JSON.stringify({ url, socket, kubeconfig, socketKubeconfig, pid: process.pid }));
      else print(`export KUBECONFIG=${kubeconfig}`);
    });
  example(
    server,
    "weft server --data ./cluster &",
    "kubectl --kubeconfig ./cluster/kubeconfig get namespaces",
  );

  const backupCommand = server
    .command("backup")
    .description("write a copy of the data to a file, also while the server runs")
    .argument("<file>", "file to make")
    .option("--data <directory>", "data of the server", DATA)
    .option("--json", "print the report as JSON")
    .action(async (file: string, flags: { data: string; json?: true }) => {
      const [{ backup }, { dataFile }] = await Promise.all([
        import("@weft/cluster/server"),
        import("@weft/server"),
      ]);
      const report = backup(dataFile(flags.data), file);
      if (flags.json) printJson(report);
      else print(`${report.objects} objects, revision ${report.revision}, in ${report.file}`);
    });
  example(backupCommand, "weft server backup --data ./cluster ./cluster.backup");

  const restoreCommand = server
    .command("restore")
    .description("make the data of a server that is stopped from a backup")
    .argument("<file>", "file that backup made")
    .option("--data <directory>", "data of the server", DATA)
    .option("--replace", "replace data that is there")
    .option("--json", "print the report as JSON")
    .action(async (file: string, flags: { data: string; replace?: true; json?: true }) => {
      const [{ restore }, { dataFile }] = await Promise.all([
        import("@weft/cluster/server"),
        import("@weft/server"),
      ]);
      const report = restore(file, dataFile(flags.data), { replace: flags.replace === true });
      if (flags.json) printJson(report);
      else print(`${report.objects} objects, revision ${report.revision}, in ${report.file}`);
    });
  example(restoreCommand, "weft server restore --data ./cluster --replace ./cluster.backup");
}

const wrong = (option: string, text: string, hint: string): WeftError =>
  new WeftError("invalid", `${option}: ${JSON.stringify(text)} is not valid`, { hint });

function parseAddress(text: string): string {
  if (isIp(text)) return text;
  throw wrong("--address", text, "Give an address of this machine, like 127.0.0.1 or ::1.");
}

/** Goes into a certificate and into the kubeconfig's URL. */
function parseName(text: string): string {
  if (isIp(text)) return parseIp(text);
  if (/^(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$/i.test(text))
    return text;
  throw wrong("--name", text, "Give a host name or an address, like api.example.org or fd00::1.");
}

function parsePort(text: string): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= 65535) return Number(text);
  throw wrong("--port", text, "Give a number from 0 to 65535.");
}

/** One or two prefixes of different families. */
function parseRanges(text: string): string[] {
  const hint = "Give one prefix, or one of each family with a comma, like 10.96.0.0/16,fd00:10:96::/112.";
  let ranges: string[];
  try {
    ranges = text.split(",").map((prefix) => parsePrefix(prefix.trim()));
  } catch {
    throw wrong("--service-range", text, hint);
  }
  const families = new Set(ranges.map((range) => range.includes(":")));
  const small = ranges.some((range) => Number(range.split("/")[1]) > (range.includes(":") ? 124 : 28));
  if (families.size !== ranges.length || ranges.length > 2 || small)
    throw wrong("--service-range", text, hint);
  return ranges;
}

function parsePorts(text: string): [number, number] {
  const found = /^(\d{1,5})-(\d{1,5})$/.exec(text);
  const [least, most] = [Number(found?.[1] ?? 0), Number(found?.[2] ?? 0)];
  if (least >= 1 && most <= 65535 && least <= most) return [least, most];
  throw wrong("--node-ports", text, "Give a range like 30000-32767.");
}
