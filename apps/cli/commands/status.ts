/** weft status: nodes, paths to peers, pods, and every table of the plan. */

import { type AgentStatus, originText } from "@weft/model";
import type { Command } from "commander";
import { askAgent, findAgents, type Where } from "../agent-client.ts";
import { example } from "../help.ts";
import { ago, paint, print, printJson, reportError, table } from "../output.ts";

interface Flags extends Where {
  readonly json?: boolean;
  readonly rows?: boolean;
}

export function statusCommand(program: Command): void {
  const status = program
    .command("status")
    .description(
      "nodes, their blocks of pools, how each reaches its peers, pods, and the state of every planned row",
    )
    .option("--json", "everything, as JSON")
    .option("--rows", "list every planned row with the object that it came from")
    .option("--socket <path>", "socket of one agent")
    .option("--lab <name>", "the agents of that lab")
    .action(async (flags: Flags) => {
      const { answers, errors } = await gather(flags);
      if (flags.json === true) printJson({ agents: answers, errors });
      else if (answers.length > 0) print(render(answers, flags.rows === true));
      if (answers.length === 0) process.exitCode = 3;
      else if (errors.length > 0 || answers.some((a) => !isGood(a))) process.exitCode = 1;
    });
  example(
    status,
    "weft status",
    "weft status --rows | grep route",
    "weft status --json | jq '.agents[].peers'",
  );
}

async function gather(where: Where): Promise<{ answers: AgentStatus[]; errors: string[] }> {
  const answers: AgentStatus[] = [];
  const errors: string[] = [];
  const agents = findAgents(where);
  const results = await Promise.allSettled(agents.map((a) => askAgent<AgentStatus>(a, "GET", "/v1/status")));
  for (const result of results) {
    if (result.status === "fulfilled") answers.push(result.value);
    else {
      reportError(result.reason);
      errors.push(String((result.reason as Error).message));
    }
  }
  return { answers, errors };
}

/** Exit code 0 means: ready, every row in place, nothing that cannot be. */
export const isGood = (a: AgentStatus): boolean =>
  a.ready &&
  a.problems.length === 0 &&
  a.settingsError === undefined &&
  (a.audit?.findings ?? []).every((f) => !f.needsPerson) &&
  (a.pools?.problems.length ?? 0) === 0 &&
  tablesOf(a).every((t) => t.errors === 0);

function render(answers: readonly AgentStatus[], withRows: boolean): string {
  const parts = [
    nodes(answers),
    poolBlocks(answers),
    peers(answers),
    pods(answers),
    services(answers),
    audit(answers),
    plan(answers),
  ];
  if (withRows) parts.push(rows(answers));
  parts.push(faults(answers));
  return parts.filter((p) => p !== "").join("\n\n");
}

function nodes(answers: readonly AgentStatus[]): string {
  return table(
    ["NODE", "STATE", "ADDRESSES", "BLOCKS", "IN USE", "POD MTU", "MEMORY", "UP"],
    answers.map((a) => [
      a.node,
      state(a),
      a.underlay.flatMap((l) => l.addresses.map((x) => `${x} ${l.name}`)).join(", "),
      a.blocks.map((b) => b.prefix).join(", "),
      a.blocks.map((b) => `${b.used}/${b.size > 65536 ? "2^16+" : b.size}`).join(", "),
      String(a.context?.podMtu ?? "-"),
      `${Math.round(a.memory / 1_048_576)} MiB`,
      ago(a.startedAt),
    ]),
  );
}

function state(a: AgentStatus): string {
  if (!a.ready) return paint("red", "waiting");
  if (a.pausedUntil !== undefined)
    return paint("yellow", `repair paused, ${Math.ceil((a.pausedUntil - Date.now()) / 1000)}s left`);
  return isGood(a) ? paint("green", "ready") : paint("yellow", "ready, with faults");
}

/** Blocks of pools and addresses on loan; nothing in a cluster without pools. */
function poolBlocks(answers: readonly AgentStatus[]): string {
  const lines = answers.flatMap(({ node, pools }) => [
    ...(pools?.blocks ?? []).map((b) => [
      b.pool,
      b.prefix,
      node,
      b.state === "open" ? b.state : paint("yellow", b.state),
      String(b.used),
      String(b.free),
      b.lent.map((l) => `${l.address} to ${l.node}`).join(", ") || "-",
      b.tunnelAddress ?? "-",
    ]),
    ...(pools?.borrowed ?? []).map((b) => [
      b.pool,
      b.block,
      node,
      b.state === "open" ? "loan" : paint("yellow", `loan, ${b.state}`),
      b.used ? "1" : "0",
      b.used ? "0" : "1",
      `${b.address} of ${b.lender ?? "nobody"}`,
      "-",
    ]),
  ]);
  if (lines.length === 0) return "";
  return table(["POOL", "BLOCK", "NODE", "STATE", "USED", "FREE", "LOANS", "TUNNEL"], lines);
}

function peers(answers: readonly AgentStatus[]): string {
  const lines = answers.flatMap((a) =>
    a.peers.map((p) => [a.node, p.node, p.block, p.backend, p.via ?? "-"]),
  );
  return lines.length === 0 ? "" : table(["FROM", "TO", "BLOCK", "BACKEND", "VIA"], lines);
}

function pods(answers: readonly AgentStatus[]): string {
  const lines = answers.flatMap((a) =>
    a.workloads.map((w) => [
      w.podName === undefined ? w.containerId.slice(0, 12) : `${w.podNamespace}/${w.podName}`,
      a.node,
      w.addresses.join(", "),
      `${w.interface} - ${w.hostLink}`,
      ago(w.since),
    ]),
  );
  return lines.length === 0
    ? "no pods"
    : table(["POD", "NODE", "ADDRESSES", "INTERFACE - ON NODE", "SINCE"], lines);
}

function services(answers: readonly AgentStatus[]): string {
  return table(
    ["NODE", "SERVICES", "COUNT", "SLICES", "FRONTENDS", "HEALTHZ", "WHY"],
    answers.map(({ node, services: s }) => [
      node,
      s.state === "active" ? paint("green", s.state) : s.state === "off" ? s.state : paint("yellow", s.state),
      String(s.services),
      String(s.endpointSlices),
      String(s.frontends),
      s.healthy ? s.healthz : paint("red", `unhealthy, ${s.healthz}`),
      s.why ?? "",
    ]),
  );
}

/** Addresses that are held for nobody, and such. What a person has to look at is told at the end. */
function audit(answers: readonly AgentStatus[]): string {
  const lines = answers.flatMap(({ node, audit: a }) => {
    if (a === undefined) return [];
    const reclaimed = Object.values(a.reclaimed).reduce((n, one) => n + one, 0);
    const due = a.findings.flatMap((f) => f.due ?? []).sort((x, y) => x - y)[0];
    return [
      [
        node,
        a.lastRun === undefined ? "not yet" : `${ago(a.lastRun)} ago`,
        a.findings.length === 0 ? paint("green", "none") : paint("yellow", String(a.findings.length)),
        due === undefined ? "-" : `in ${Math.max(0, Math.ceil((due - Date.now()) / 1000))}s`,
        String(reclaimed),
        String(a.leftovers),
        `${a.leakGrace}s`,
      ],
    ];
  });
  if (lines.length === 0) return "";
  return table(["NODE", "AUDIT", "FINDINGS", "NEXT DUE", "RECLAIMED", "LEFTOVERS", "GRACE"], lines);
}

/** Of both plans: links and routes, and services. */
const tablesOf = (a: AgentStatus): AgentStatus["plan"] => [...a.plan, ...a.services.plan];

function plan(answers: readonly AgentStatus[]): string {
  const kinds = [...new Set(answers.flatMap((a) => tablesOf(a).map((t) => t.kind)))];
  const lines = kinds.map((kind) => {
    const tables = answers.flatMap((a) => tablesOf(a).filter((t) => t.kind === kind));
    const sum = (pick: (t: (typeof tables)[number]) => number): string =>
      String(tables.reduce((n, t) => n + pick(t), 0));
    return [
      kind,
      sum((t) => t.rows),
      sum((t) => t.done),
      sum((t) => t.pending),
      sum((t) => t.errors),
      sum((t) => t.repaired),
      sum((t) => t.pruned),
      tables.find((t) => t.lastError !== undefined)?.lastError ?? "",
    ];
  });
  return table(["PLAN", "ROWS", "DONE", "PENDING", "ERRORS", "REPAIRED", "PRUNED", "LAST ERROR"], lines);
}

function rows(answers: readonly AgentStatus[]): string {
  const lines = answers.flatMap((a) =>
    tablesOf(a).flatMap((t) =>
      t.items.map((i) => [
        a.node,
        t.kind,
        i.key,
        i.state,
        `${originText(i.origin)}${i.error === undefined ? "" : `  ${i.error}`}`,
      ]),
    ),
  );
  return table(["NODE", "KIND", "ROW", "STATE", "ASKED FOR BY"], lines, 10_000);
}

/** Problems of services that are told at once. */
const SERVICE_PROBLEMS = 5;

/** Everything that a user must know and did not ask for. */
function faults(answers: readonly AgentStatus[]): string {
  const lines: string[] = [];
  for (const a of answers) {
    if (a.waitingFor !== undefined) lines.push(`${a.node}: waiting: ${a.waitingFor}`);
    if (/away since/.test(a.source)) lines.push(`${a.node}: ${a.source}`);
    if (a.settingsError !== undefined)
      lines.push(`${a.node}: settings are not taken over: ${a.settingsError}`);
    for (const p of a.problems) lines.push(`${a.node}: ${p.message} (${originText(p.origin)}). ${p.hint}`);
    if (a.audit?.error !== undefined) lines.push(`${a.node}: the audit cannot look: ${a.audit.error}`);
    for (const f of a.audit?.findings ?? []) {
      const when = f.due === undefined ? "" : ` (at ${new Date(f.due).toISOString().slice(11, 19)}Z)`;
      const whose = f.addresses.length === 0 ? "" : `, ${f.addresses.join(", ")}`;
      lines.push(`${a.node}: ${f.object}${whose}: ${f.message}. ${f.remedy}${when}`);
    }
    for (const p of a.pools?.problems ?? []) lines.push(`${a.node}: pools: ${p}`);
    // A service that asks for what cannot be is its owner's business: it makes no node faulty.
    const { problems, sourceErrors } = a.services;
    for (const p of problems.slice(0, SERVICE_PROBLEMS))
      lines.push(`${a.node}: ${p.message} (${originText(p.origin)}). ${p.hint}`);
    if (problems.length > SERVICE_PROBLEMS)
      lines.push(
        `${a.node}: ${problems.length - SERVICE_PROBLEMS} more problems of services: weft service ls`,
      );
    for (const t of tablesOf(a)) {
      for (const i of t.items) {
        if (i.state === "error")
          lines.push(`${a.node}: ${t.kind} ${i.key}: ${i.error} (${originText(i.origin)})`);
      }
    }
    for (const c of a.foreignChains) {
      const why = c.policy === "drop" ? "its policy is drop" : "it has rules that drop";
      lines.push(
        `${a.node}: table ${c.family} ${c.table}, chain ${c.chain} (hook ${c.hook}, priority ${c.priority}) can drop pod traffic: ${why}`,
      );
    }
    for (const e of new Set([...a.sourceErrors, ...sourceErrors])) lines.push(`${a.node}: ${e}`);
  }
  return lines.map((l) => paint("yellow", `! ${l}`)).join("\n");
}
