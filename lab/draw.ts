/**
 * The lab as text: its topology in box drawing, and tables. Pure. The drawing fits 80 columns; addresses are
 * never cut, long names are.
 */
import type { PlannedNode, Topology } from "./topology.ts";

/** Above this many nodes a table stands in for the drawing. */
export const MOST_DRAWN = 12;
const WIDTH = 80;

export interface DrawnPod {
  readonly namespace: string;
  readonly name: string;
  readonly node: string | undefined;
  readonly hostNetwork: boolean;
  readonly podIPs: readonly string[];
  readonly ready: boolean;
}

export function drawTopology(plan: Topology, pods: readonly DrawnPod[]): string {
  return plan.nodes.length > MOST_DRAWN ? nodeTable(plan, pods) : drawing(plan, pods);
}

function drawing(plan: Topology, pods: readonly DrawnPod[]): string {
  const lines = [
    "┌─────────┐",
    `│ outside │ ${plan.outside.join("  ")}`,
    "└────┬────┘",
    "┌────┴────┐",
    "│  spine  │ a router without pod routes: drops bare pod packets",
    "└────┬────┘",
  ];
  plan.racks.forEach((rack, i) => {
    const lastRack = i === plan.racks.length - 1;
    const trunk = lastRack ? " " : "│";
    lines.push(`     ${lastRack ? "└" : "├"}── ${rack.name}  ${rack.prefixes.join("  ")}`);
    const nodes = plan.nodes.filter((n) => n.rack === rack.name);
    nodes.forEach((node, j) => {
      const lastNode = j === nodes.length - 1;
      const box = nodeBox(
        node,
        pods.filter((p) => p.node === node.name),
        WIDTH - 14,
      );
      box.forEach((line, k) => {
        const branch = k === 0 ? (lastNode ? "└── " : "├── ") : lastNode ? "    " : "│   ";
        lines.push(`     ${trunk}   ${branch}${line}`);
      });
    });
  });
  const homeless = pods.filter((p) => !plan.nodes.some((n) => n.name === p.node));
  if (homeless.length > 0) lines.push(`on no node: ${homeless.map(shortName).join(", ")}`);
  return lines.map((line) => line.trimEnd()).join("\n");
}

/** A node with its pods; `width` is that of the whole box. */
function nodeBox(node: PlannedNode, pods: readonly DrawnPod[], width: number): string[] {
  const inner = width - 4;
  const title = ` ${node.name}  ${node.addresses.join("  ")} `;
  const rows = pods.flatMap((pod) => podLines(pod, inner));
  if (rows.length === 0) rows.push("no pods");
  return [
    `┌${title}${"─".repeat(width - 2 - title.length)}┐`,
    ...rows.map((row) => `│ ${row.padEnd(inner)} │`),
    `└${"─".repeat(width - 2)}┘`,
  ];
}

/** Name and addresses in columns; below one another when they do not fit. */
function podLines(pod: DrawnPod, inner: number): string[] {
  const mark = pod.ready ? " " : "!";
  const ips = pod.hostNetwork ? ["the node's own network"] : [...pod.podIPs];
  if (ips.length === 0) ips.push("no address yet");
  const columns = ips.map((ip) => (ip.includes(".") ? ip.padEnd(16) : ip)).join(" ");
  const line = `${mark} ${cut(shortName(pod), 22).padEnd(22)} ${columns.trimEnd()}`;
  if (line.length <= inner) return [line];
  return [`${mark} ${cut(shortName(pod), inner - 2)}`, ...ips.map((ip) => `    ${ip}`)];
}

const shortName = (pod: DrawnPod): string =>
  pod.namespace === "default" ? pod.name : `${pod.namespace}/${pod.name}`;

const cut = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length - 1)}…`;

function nodeTable(plan: Topology, pods: readonly DrawnPod[]): string {
  return formatTable(
    ["NODE", "RACK", "ADDRESSES", "PODS", "POD RANGES"],
    plan.nodes.flatMap((node) => {
      const own = pods.filter((p) => p.node === node.name);
      const ready = `${own.filter((p) => p.ready).length}/${own.length}`;
      const rows = Math.max(node.addresses.length, node.podCIDRs.length);
      return Array.from({ length: rows }, (_, i) => [
        i === 0 ? node.name : "",
        i === 0 ? node.rack : "",
        node.addresses[i] ?? "",
        i === 0 ? ready : "",
        node.podCIDRs[i] ?? "",
      ]);
    }),
  );
}

/** Columns aligned by spaces, as kubectl prints them. */
export function formatTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows];
  const widths = header.map((_, i) => Math.max(...all.map((row) => (row[i] ?? "").length)));
  return all
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** A span of milliseconds as kubectl says ages: "0s", "42s", "7m", "3h", "2d". */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}
