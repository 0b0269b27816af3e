/** The report as text for a terminal. */
import type {
  CheckDrift,
  CheckFailure,
  CheckForeignChain,
  CheckReport,
  Matrix,
  MatrixCell,
  SetupError,
} from "./types.ts";

export interface RenderOptions {
  /** Columns of the terminal. Default 100. */
  readonly width?: number;
  /** ANSI colours. Default false. */
  readonly color?: boolean;
}

/** Lines of one section before "and N more". */
const MOST_LINES = 20;
const MOST_HINTS = 5;

type Paint = (style: "good" | "bad" | "strong", text: string) => string;

const STYLES = { good: "32", bad: "31", strong: "1" } as const;

/** Several lines, each ending in a newline; no colour unless asked for. */
export function renderReport(
  report: CheckReport,
  { width = 100, color = false }: RenderOptions = {},
): string {
  const paint: Paint = (style, text) => (color ? `\x1b[${STYLES[style]}m${text}\x1b[0m` : text);
  const section = (title: string, lines: readonly string[]): string[] =>
    lines.length === 0 ? [] : ["", paint("strong", title), ...atMost(lines).map((line) => `  ${line}`)];
  const bare = (report.barePackets ?? []).filter((counter) => counter.packets > 0);
  return [
    summary(report, paint),
    ...matrixLines(report.matrix, width, paint),
    ...section("Failed:", failureLines(report.failures)),
    ...section("Could not be tested:", report.setupErrors.map(setupLine)),
    ...section(
      "Packets with pod addresses, bare on the fabric:",
      bare.map((counter) => `${counter.name}: ${counter.packets}`),
    ),
    ...section("Differs from the plan:", (report.drift ?? []).map(driftLine)),
    ...section("Packet filters of others that drop:", report.foreignChains.map(chainLine)),
    ...section("What to look at:", hints(report)),
    "",
  ].join("\n");
}

function summary(report: CheckReport, paint: Paint): string {
  const { pairs, endpoints, failures } = report;
  const nodes = endpoints.filter((e) => e.kind === "node").length;
  const failed = new Set(failures.map((f) => `${f.from}\0${f.to}`)).size;
  const verdict = report.ok ? paint("good", "ok") : paint("bad", "FAILED");
  const parts = [
    failed === 0
      ? `${count(pairs.tested, "pair")} tested`
      : `${failed} of ${count(pairs.tested, "pair")} failed`,
    pairs.sampled ? `a sample of ${pairs.total}` : "",
    !pairs.sampled && pairs.tested < pairs.total ? `${pairs.total - pairs.tested} could not be tested` : "",
    `${count(nodes, "node")} and ${count(endpoints.length - nodes, "pod")}`,
    count(pairs.probes, "probe"),
    report.barePackets?.every((counter) => counter.packets === 0) ? "no pod address bare on the fabric" : "",
    `${(report.durationMs / 1000).toFixed(1)} s`,
  ];
  return `Network model: ${verdict} (${parts.filter((part) => part !== "").join(", ")})`;
}

/** Rows are sources, columns destinations; by name where that fits, else by number, in as many blocks as needed. */
function matrixLines(matrix: Matrix, width: number, paint: Paint): string[] {
  if (matrix.names.length === 0) return [];
  const text = matrix.cells.map((row) => row.map((cell) => cellText(cell, matrix.by)));
  const columnWidths = (headings: readonly string[]): number[] =>
    headings.map((heading, column) => Math.max(heading.length, ...text.map((row) => row[column]!.length)));
  const total = (widths: readonly number[]): number => widths.reduce((sum, w) => sum + 2 + w, 0);

  let rows = [...matrix.names];
  let headings = rows;
  if (longest(rows) + total(columnWidths(headings)) > width) {
    headings = rows.map((_, i) => String(i + 1));
    const digits = String(rows.length).length;
    rows = rows.map((name, i) => `${String(i + 1).padStart(digits)} ${name}`);
  }
  const widths = columnWidths(headings);
  const lines: string[] = [""];
  for (let first = 0; first < headings.length; ) {
    let end = first + 1;
    while (end < headings.length && longest(rows) + total(widths.slice(first, end + 1)) <= width) end++;
    if (first > 0) lines.push("");
    const line = (
      label: string,
      cells: readonly string[],
      paintCell: (cell: string, column: number) => string,
    ) =>
      cells
        .slice(first, end)
        .reduce(
          (text, cell, i) =>
            `${text}  ${paintCell(cell, first + i)}${" ".repeat(widths[first + i]! - cell.length)}`,
          label.padEnd(longest(rows)),
        )
        .trimEnd();
    lines.push(line("from \\ to", headings, (heading) => heading));
    rows.forEach((label, row) => {
      const painted = (cell: string, column: number): string => {
        const { tested, failed } = matrix.cells[row]![column]!;
        return tested === 0 ? cell : paint(failed === 0 ? "good" : "bad", cell);
      };
      lines.push(line(label, text[row]!, painted));
    });
    first = end;
  }
  const cells = matrix.cells.flat();
  const legend = [
    cells.some((c) => c.failed > 0)
      ? "4, 6: IPv4, IPv6; t TCP, u UDP, m packet of the pod MTU, + larger packet arrives"
      : "",
    matrix.by === "node" && cells.some((c) => c.failed > 0) ? "in brackets: failed of tested pairs" : "",
    cells.some((c) => c.tested === 0) ? "-: not tested" : "",
  ].filter((part) => part !== "");
  return legend.length === 0 ? lines : [...lines, `(${legend.join("; ")})`];
}

function cellText(cell: MatrixCell, by: Matrix["by"]): string {
  if (cell.tested === 0) return "-";
  if (cell.failed === 0) return "ok";
  return by === "node" ? `${cell.marks} (${cell.failed}/${cell.tested})` : cell.marks;
}

/** One line for each pair and reason: "a -> b  IPv4 tcp udp, IPv6 tcp: timed out after 1 s". */
function failureLines(failures: readonly CheckFailure[]): string[] {
  const groups = new Map<string, CheckFailure[]>();
  for (const failure of failures) {
    const key = [failure.from, failure.to, failure.message].join("\0");
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [failure]);
    else group.push(failure);
  }
  return [...groups.values()].map((group) => {
    const { from, to, message } = group[0]!;
    const families = ([4, 6] as const).map((family) => {
      const probes = new Set(group.filter((f) => f.family === family).map((f) => f.probe));
      return probes.size === 0 ? "" : `IPv${family} ${[...probes].join(" ")}`;
    });
    return `${from} -> ${to}  ${families.filter((part) => part !== "").join(", ")}: ${message}`;
  });
}

const setupLine = ({ subject, message }: SetupError): string => `${subject}: ${message}`;

function driftLine({ node, kind, key, difference, origin }: CheckDrift): string {
  const what = `${node}: ${kind} ${key}: ${difference}`;
  if (origin === undefined) return what;
  const name = origin.namespace === undefined ? origin.name : `${origin.namespace}/${origin.name}`;
  return `${what} (from ${[origin.kind, name, origin.field].filter((part) => part !== undefined).join(" ")})`;
}

function chainLine(c: CheckForeignChain): string {
  const drops = [
    c.policy === "drop" ? "policy drop" : "",
    c.hasDropRules ? (c.policy === "drop" ? "and rules that drop" : "has rules that drop") : "",
  ];
  const where = `(hook ${c.hook}, priority ${c.priority})`;
  return [`${c.node}: table ${c.family} ${c.table} chain ${c.chain}`, ...drops, where]
    .filter((part) => part !== "")
    .join(" ");
}

function hints(report: CheckReport): string[] {
  const all = [...report.failures, ...report.setupErrors].flatMap(({ hint }) =>
    hint === undefined ? [] : [hint],
  );
  return [...new Set(all)].slice(0, MOST_HINTS);
}

function atMost(lines: readonly string[]): readonly string[] {
  if (lines.length <= MOST_LINES) return lines;
  return [...lines.slice(0, MOST_LINES), `and ${lines.length - MOST_LINES} more, --json lists all`];
}

const longest = (texts: readonly string[]): number =>
  Math.max("from \\ to".length, ...texts.map((t) => t.length));

const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`;
