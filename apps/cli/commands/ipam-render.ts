/** What weft ipam prints. */
import {
  type Answer,
  type CheckFinding,
  type ClusterState,
  forecastText,
  type Holding,
  type UsageReport,
} from "@weft/ipam/inspect";
import type { SecondsLeft } from "@weft/model";
import { ago, paint, table } from "../output.ts";

export function renderUsage({ pools, nodes }: UsageReport): string {
  const parts: string[] = [];
  if (pools.length > 0) {
    parts.push(
      table(
        ["POOL", "RANGE", "USED", "SIZE", "", "BLOCKS", "NODES", "LOANS", "FULL", "FULLEST NODE", "STATE"],
        pools.map((p) => [
          p.pool,
          p.cidr === "" ? "-" : p.cidr,
          String(p.used),
          sizeText(p.size),
          share(p.used, p.size),
          String(p.blocks),
          String(p.nodes),
          String(p.loans),
          leftText(p.left),
          p.fullest === undefined ? "-" : `${p.fullest.node} ${p.fullest.used}/${sizeText(p.fullest.size)}`,
          p.state === "not ready" ? paint("red", p.state) : p.state,
        ]),
      ),
    );
  }
  if (nodes.length > 0) {
    parts.push(
      table(
        ["NODE", "POD RANGE", "USED", "SIZE", "", "FULL", "COUNTED BY"],
        nodes.map((n) => [
          n.node,
          n.range,
          String(n.used),
          sizeText(n.size),
          share(n.used, n.size),
          leftText(n.left),
          n.by === "agent" ? "its agent" : "pods' statuses",
        ]),
      ),
    );
  }
  return parts.length === 0 ? "no pools, and no node with a range for pods" : parts.join("\n\n");
}

const sizeText = (size: number): string => (size > 2 ** 20 ? "2^20+" : String(size));

function share(used: number, size: number): string {
  if (size === 0) return "-";
  const percent = Math.floor((100 * used) / size);
  const text = `${percent}%`;
  return percent >= 95 ? paint("red", text) : percent >= 80 ? paint("yellow", text) : text;
}

function leftText(left: SecondsLeft): string {
  const text = forecastText(
    left === undefined
      ? { kind: "unknown" }
      : left === null
        ? { kind: "never" }
        : { kind: "full", seconds: left },
  );
  return typeof left === "number" && left < 86_400 ? paint("yellow", text) : text;
}

export function renderAnswer(answer: Answer, { now }: ClusterState): string {
  const parts = [headline(answer)];
  const known = distinct(answer.holdings);
  if (known.length > 0) {
    parts.push(
      table(
        ["ADDRESS", "POD", "NODE", "STATE", "SINCE", "CONTAINER", "BLOCK", "POOL", "SAID BY"],
        known.map(({ by, ...h }) => [
          h.address,
          h.origin.pod ?? "-",
          h.origin.node || "-",
          h.state,
          h.origin.since === undefined ? "-" : `${ago(h.origin.since, now)} ago`,
          h.origin.containerId?.slice(0, 12) ?? "-",
          h.block ?? "-",
          h.pool ?? "-",
          by.join(", "),
        ]),
      ),
    );
  }
  for (const block of answer.blocks.slice(0, 20)) {
    const asking = block.loans.filter((l) => l.address === undefined && l.refused === undefined).length;
    const lent = block.loans.filter((l) => l.address !== undefined);
    const facts = [
      `block ${block.prefix} of pool ${block.pool}: ${block.node === undefined ? "its node is gone" : `node ${block.node}`}`,
      ...(block.tunnelAddress === undefined ? [] : [`end of its tunnels ${block.tunnelAddress}`]),
      ...(lent.length === 0 ? [] : [`on loan: ${lent.map((l) => `${l.address} to ${l.node}`).join(", ")}`]),
      ...(asking === 0 ? [] : [`${asking} asked for`]),
      block.reported === undefined
        ? "status never written"
        : `status written ${ago(block.reported, now)} ago`,
    ];
    parts.push(facts.join("; "));
  }
  if (answer.blocks.length > 20) parts.push(`and ${answer.blocks.length - 20} more blocks`);
  const former = answer.former.slice(0, answer.kind === "address" ? 5 : 10);
  if (former.length > 0) {
    parts.push(
      table(
        ["BEFORE", "POD", "NODE", "UNTIL", "FOR", "CONTAINER", "WHY IT ENDED"],
        former.map((f) => [
          f.address,
          f.origin.pod ?? "-",
          f.origin.node,
          `${ago(f.until, now)} ago`,
          f.origin.since === undefined ? "-" : ago(f.origin.since, f.until),
          f.origin.containerId?.slice(0, 12) ?? "-",
          f.why ?? "the runtime deleted it",
        ]),
      ),
    );
  }
  return parts.join("\n\n");
}

function headline({ kind, what, holdings, range }: Answer): string {
  if (kind !== "address") {
    const count = new Set(holdings.map((h) => h.address)).size;
    return paint("bold", `${kind} ${what}: ${count} ${count === 1 ? "address" : "addresses"} in use`);
  }
  const of =
    range === undefined
      ? "in no range of this cluster"
      : range.node === undefined
        ? `of ${range.pool === undefined ? range.prefix : `pool ${range.pool}, of which no node has a block with it`}`
        : `of ${range.prefix}${range.pool === undefined ? "" : ` (pool ${range.pool})`}, which is node ${range.node}'s`;
  return paint("bold", `${what}: ${holdings.length === 0 ? "nobody has it" : "in use"}, ${of}`);
}

/** What several sources say alike is one line; what the ledger says counts. */
function distinct(
  holdings: readonly Holding[],
): readonly (Omit<Holding, "by"> & { readonly by: readonly string[] })[] {
  const order = { agent: 0, IPBlock: 1, Pod: 2 } as const;
  const byKey = Map.groupBy(holdings, (h) => `${h.address} ${h.origin.pod ?? ""} ${h.origin.node}`);
  return [...byKey.values()].map((list) => {
    const [best, ...others] = list.toSorted((a, b) => order[a.by] - order[b.by]) as [Holding, ...Holding[]];
    return { ...best, by: [best, ...others].map((h) => h.by) };
  });
}

export function renderFindings(
  findings: readonly CheckFinding[],
  { api, agents }: ClusterState,
  errors: readonly string[],
): string {
  const lines = findings.flatMap((f) => [
    `${paint("red", "!")} ${paint("bold", f.object)}: ${f.message}`,
    `  ${f.remedy}`,
  ]);
  for (const e of errors) lines.push(paint("yellow", `? not asked: ${e}`));
  const looked = [
    ...(api === undefined
      ? []
      : [
          `${api.pods.length} pods, ${api.nodes.length} nodes, ${api.pools.length} pools and ${api.blocks.length} blocks of ${api.server}`,
        ]),
    ...(agents.length === 0
      ? []
      : [
          `${agents.length === 1 ? "the ledger of" : "the ledgers of"} ${agents.map((a) => a.node).join(", ")}`,
        ]),
  ];
  const outcome =
    findings.length === 0
      ? paint("green", "everything fits together")
      : paint("red", findings.length === 1 ? "1 finding" : `${findings.length} findings`);
  return [...lines, `${outcome}: ${looked.join("; ")}`].join("\n");
}
