/** What a benchmark found: figures of both sides, their ratio, the machine, and how to do it again. */
import type { Machine } from "./machine.ts";

export type Unit = "ms" | "s" | "MiB" | "count" | "1/s" | "Gbit/s" | "%";

export interface Figure {
  readonly name: string;
  readonly unit: Unit;
  readonly weft: number;
  /** Undefined where the peer has nothing of the kind. */
  readonly peer: number | undefined;
  readonly better: "lower" | "higher";
  /** Quartiles of the ratio over the rounds, where each round measured both sides one after the other. */
  readonly quartiles?: readonly [number, number];
}

export interface Report {
  readonly suite: string;
  /** What Weft is compared with, by name and version. */
  readonly peer: string;
  readonly figures: readonly Figure[];
  /** What one must know to read the figures. */
  readonly notes: readonly string[];
  readonly machine: Machine;
  readonly command: string;
  /** ISO 8601, date only. */
  readonly date: string;
}

/** weft / peer; undefined without a peer or where the peer has zero. */
export const ratioOf = ({ weft, peer }: Figure): number | undefined =>
  peer === undefined || peer === 0 ? undefined : weft / peer;

/** Three significant digits: more would say more than was measured. */
export function significant(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 100) return String(Math.round(value));
  return value.toPrecision(3);
}

export function renderReport(report: Report): string {
  const head = ["", "Weft", "peer", "Weft / peer", "unit", "better", ""];
  const rows = report.figures.map((f) => {
    const ratio = ratioOf(f);
    return [
      f.name,
      significant(f.weft),
      f.peer === undefined ? "-" : significant(f.peer),
      ratio === undefined ? "-" : `${ratio.toFixed(2)}x`,
      f.unit === "count" ? "" : f.unit,
      f.better,
      f.quartiles === undefined
        ? ""
        : `half of the rounds from ${f.quartiles.map((q) => `${q.toFixed(2)}x`).join(" to ")}`,
    ];
  });
  const widths = head.map((h, i) => Math.max(h.length, ...rows.map((r) => (r[i] as string).length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => {
        const width = widths[i] as number;
        return i === 0 || i > 3 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join("  ")
      .trimEnd();
  const { cpu, cores, kernel, versions } = report.machine;
  return [
    `${report.suite}: Weft and ${report.peer}`,
    "",
    line(head),
    ...rows.map(line),
    "",
    ...report.notes.map((note) => `- ${note}`),
    `machine: ${cpu}, ${cores} cores, Linux ${kernel}`,
    `versions: ${versions.map(([name, version]) => `${name} ${version}`).join(", ")}`,
    `again: ${report.command}`,
    "",
  ].join("\n");
}
