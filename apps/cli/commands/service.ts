/** weft service: what clients can connect to, who answers them on a node, and why. */
import { WeftError } from "@weft/base";
import { type EndpointStatus, originText, type ServiceDetail, type ServiceSummary } from "@weft/model";
import type { Command } from "commander";
import { type AgentAddress, askAgent, findAgents, type Where } from "../agent-client.ts";
import { example } from "../help.ts";
import { paint, print, printJson, reportError, table } from "../output.ts";

interface Flags extends Where {
  readonly json?: boolean;
  readonly namespace?: string;
}

export function serviceCommand(program: Command): void {
  const service = program.command("service").description("services: their addresses, endpoints, and why");
  example(service, "weft service ls", "weft service show web");
  const ls = service
    .command("ls")
    .description("all services, as this node has them (in a lab: its first node that answers)")
    .option("-n, --namespace <name>", "only those of that namespace")
    .option("--json", "as JSON")
    .option("--socket <path>", "socket of one agent")
    .option("--lab <name>", "the agents of that lab")
    .action(list);
  example(
    ls,
    "weft service ls",
    "weft service ls -n kube-system",
    "weft service ls --json | jq '.services[].name'",
  );
  const show = service
    .command("show <name>")
    .description("one service on each node: frontends, endpoints, and why each is used or is not")
    .option("-n, --namespace <name>", "its namespace", "default")
    .option("--json", "as JSON")
    .option("--socket <path>", "socket of one agent")
    .option("--lab <name>", "the agents of that lab")
    .action(detail);
  example(show, "weft service show web", "weft service show kube-dns -n kube-system --json");
}

async function list(flags: Flags): Promise<void> {
  let last: unknown;
  for (const agent of findAgents(flags)) {
    try {
      const all = await askAgent<ServiceSummary[]>(agent, "GET", "/v1/services");
      const services = all.filter((s) => flags.namespace === undefined || s.namespace === flags.namespace);
      if (flags.json === true) printJson({ node: agent.node, services });
      else print(services.length === 0 ? "no services" : listing(services));
      return;
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

function listing(services: readonly ServiceSummary[]): string {
  return table(
    ["NAMESPACE", "NAME", "TYPE", "CLUSTER IPS", "EXTERNAL IPS", "PORTS", "READY", "NOTE"],
    services.map((s) => [
      s.namespace,
      s.name,
      s.type,
      s.clusterIPs.join(",") || "-",
      s.externalIPs.join(",") || "-",
      s.ports.join(",") || "-",
      s.leftAlone === undefined ? `${s.ready}/${s.endpoints}` : "-",
      noteOf(s),
    ]),
  );
}

function noteOf(s: ServiceSummary): string {
  if (s.leftAlone !== undefined) return `not served here: ${s.leftAlone}`;
  if (s.problems > 0)
    return paint(
      "yellow",
      `${s.problems === 1 ? "a problem" : `${s.problems} problems`}, see weft service show`,
    );
  return s.ready === 0 ? paint("yellow", "nobody is ready") : "";
}

async function detail(name: string, flags: Flags): Promise<void> {
  const namespace = flags.namespace ?? "default";
  const agents = findAgents(flags);
  const ask = (agent: AgentAddress) =>
    askAgent<{ service: ServiceDetail | null }>(agent, "POST", "/v1/services/show", { namespace, name });
  const results = await Promise.allSettled(agents.map(ask));
  const errors: string[] = [];
  const found: ServiceDetail[] = [];
  for (const result of results) {
    if (result.status === "rejected") {
      reportError(result.reason);
      errors.push(String((result.reason as Error).message));
    } else if (result.value.service !== null) found.push(result.value.service);
  }
  if (found.length === 0 && errors.length < results.length) {
    throw new WeftError("not-found", `there is no Service ${namespace}/${name}`, {
      hint: "See: weft service ls",
    });
  }
  if (flags.json === true) printJson({ nodes: found, errors });
  else if (found.length > 0) print(rendered(found));
  if (found.length === 0) process.exitCode = 3;
  else if (errors.length > 0) process.exitCode = 1;
}

function rendered(found: readonly ServiceDetail[]): string {
  const { service } = found[0] as ServiceDetail;
  const facts = [
    `${service.namespace}/${service.name}`,
    service.type,
    ...(service.internalLocal ? ["internal traffic stays on the node"] : []),
    ...(service.externalLocal ? ["external traffic stays on the node"] : []),
    ...(service.affinity === undefined ? [] : [`a client keeps its endpoint for ${service.affinity} s`]),
    ...(service.sourceRanges === undefined
      ? []
      : [`balancer's clients: ${service.sourceRanges.join(", ") || "none"}`]),
    ...(service.healthCheckNodePort === undefined
      ? []
      : [`health check port ${service.healthCheckNodePort}`]),
  ];
  const parts = [paint("bold", facts.join(", "))];
  if (service.leftAlone !== undefined) parts.push(`Not served here: ${service.leftAlone}.`);
  else parts.push(frontends(found), endpoints(found));
  const problems = new Set(
    found.flatMap((d) => d.problems.map((p) => `! ${p.message} (${originText(p.origin)}). ${p.hint}`)),
  );
  if (problems.size > 0) parts.push(paint("yellow", [...problems].join("\n")));
  return parts.join("\n\n");
}

function frontends(found: readonly ServiceDetail[]): string {
  const lines = found.flatMap((d) =>
    d.frontends.map(({ row, state, error }) => {
      const { address, family, protocol, port } = row.match;
      const host = address === "node" ? `node (IPv${family})` : family === 6 ? `[${address}]` : address;
      const to =
        row.action === "balance" ? `${row.backends.length}, ${row.balance}` : paint("yellow", row.action);
      return [
        d.node,
        `${host}:${port}/${protocol.toUpperCase()}`,
        row.scope === "outside" ? "from outside" : "all",
        to,
        row.masquerade === "never" ? "kept" : "kept for this node's",
        error === undefined ? state : paint("red", `${state}: ${error}`),
        row.origin.field ?? "",
      ];
    }),
  );
  if (lines.length === 0) return "no frontends";
  return table(["NODE", "FRONTEND", "CLIENTS", "BACKENDS", "SOURCE", "STATE", "ASKED FOR BY"], lines);
}

function endpoints(found: readonly ServiceDetail[]): string {
  const lines = found.flatMap((d) =>
    d.endpoints.map((e) => [
      d.node,
      `${e.ip.includes(":") ? `[${e.ip}]` : e.ip}:${e.port}/${e.protocol.toUpperCase()}${e.portName === "" ? "" : ` ${e.portName}`}`,
      e.node ?? "-",
      e.state === "ready" ? paint("green", e.state) : paint("yellow", e.state),
      usedText(e),
      connectionsTo(e, d),
      e.slice,
      e.why ?? "",
    ]),
  );
  if (lines.length > 0)
    return table(["NODE", "ENDPOINT", "ON", "STATE", "USED FOR", "CONNECTIONS", "SLICE", "WHY NOT"], lines);
  const slices = found.flatMap((d) => d.slices);
  return paint(
    "yellow",
    slices.length === 0
      ? "No EndpointSlice has the label kubernetes.io/service-name of this service."
      : `No port of its slices (${[...new Set(slices)].join(", ")}) has the name and protocol of a port of the service.`,
  );
}

/** Over all frontends of the protocol. */
function connectionsTo({ ip, port, protocol }: EndpointStatus, { frontends }: ServiceDetail): string {
  let sum: number | undefined;
  for (const { row, connections } of frontends) {
    if (connections === undefined || row.match.protocol !== protocol.toLowerCase()) continue;
    const i = row.backends.findIndex((b) => b.ip === ip && b.port === port);
    sum = (sum ?? 0) + (connections[i] ?? 0);
  }
  return sum === undefined ? "-" : String(sum);
}

function usedText({ cluster, local }: EndpointStatus): string {
  if (cluster) return local ? "all" : "traffic to any node";
  return local ? "traffic that stays here" : "nothing";
}
