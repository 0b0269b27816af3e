/** Text for a terminal: tables that fit, colours only where somebody sees them, errors in one form. */
import { writeSync } from "node:fs";
import { isatty } from "node:tty";
import { describeError, hintOf, WeftError } from "@weft/base";

export const colorOut = (): boolean =>
  isatty(1) && process.env["NO_COLOR"] === undefined && process.env["TERM"] !== "dumb";
export const terminalWidth = (): number => {
  const columns = Number(process.env["COLUMNS"] ?? process.stdout.columns ?? 100);
  return Number.isInteger(columns) && columns >= 40 ? columns : 100;
};

/** Writes all of it to standard output; a reader that went away (`| head`) ends the program quietly. */
export function print(text: string): void {
  let rest = Buffer.from(text.endsWith("\n") ? text : `${text}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EPIPE") process.exit(0);
      if (code !== "EAGAIN") throw error;
      Bun.sleepSync(1);
    }
  }
}

export const printJson = (value: unknown): void => print(JSON.stringify(value, null, 2));

const CODES = { red: 31, green: 32, yellow: 33, bold: 1, dim: 2 } as const;
export const paint = (color: keyof typeof CODES, text: string): string =>
  colorOut() ? `\x1b[${CODES[color]}m${text}\x1b[0m` : text;

/** Rows under headings, columns as wide as need be; the last column is cut where the terminal ends. */
export function table(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  width = terminalWidth(),
): string {
  const plain = Bun.stripANSI;
  const widths = headings.map((h, i) => Math.max(h.length, ...rows.map((r) => plain(r[i] ?? "").length)));
  const line = (cells: readonly string[]): string => {
    let used = 0;
    return cells
      .map((cell, i) => {
        const last = i === cells.length - 1;
        const room = Math.max(8, width - used);
        const length = plain(cell).length;
        used += (widths[i] as number) + 2;
        if (last) return length > room ? `${plain(cell).slice(0, room - 1)}…` : cell;
        return cell + " ".repeat((widths[i] as number) + 2 - length);
      })
      .join("")
      .trimEnd();
  };
  return [line(headings), ...rows.map(line)].join("\n");
}

/** "4m", "2h": how long ago. */
export function ago(since: number, now = Date.now()): string {
  const s = Math.max(0, Math.floor((now - since) / 1000));
  if (s < 120) return `${s}s`;
  if (s < 7200) return `${Math.floor(s / 60)}m`;
  if (s < 172_800) return `${Math.floor(s / 3600)}h`;
  return `${Math.floor(s / 86_400)}d`;
}

/** Exit codes: 1 the answer is no, 2 wrong use, 3 the other side is not there, 70 a fault of ours. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof WeftError)) return 70;
  if (error.code === "invalid") return 2;
  return error.code === "unavailable" || error.code === "timeout" ? 3 : 1;
}

export function reportError(error: unknown): void {
  const object = error instanceof WeftError && error.object !== undefined ? `${error.object}: ` : "";
  const hint = hintOf(error);
  const stack = error instanceof WeftError || !(error instanceof Error) ? "" : `\n${error.stack ?? ""}`;
  writeSync(
    2,
    `weft: ${object}${describeError(error)}${stack}\n${hint === undefined ? "" : `      ${hint}\n`}`,
  );
}
