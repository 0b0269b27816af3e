/** Processes as /proc tells of them (proc(5)). Each parser throws "invalid" for a text of another form. */
import { readFileSync } from "node:fs";
import { WeftError } from "@weft/base";

/** Linux counts CPU time in /proc in units of 1/100 s on every architecture (USER_HZ). */
const TICKS_PER_SECOND = 100;

export interface ProcessStat {
  readonly parent: number;
  /** User and system time of all its threads so far, seconds. */
  readonly cpuSeconds: number;
  /** The same of its children that have ended, and of theirs. */
  readonly childrenCpuSeconds: number;
  readonly threads: number;
}

/** /proc/PID/stat. The name stands in parentheses and may hold anything, so fields count from the last one. */
export function parseStat(text: string): ProcessStat {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const number = (field: number): number => whole(fields[field - 3], "stat");
  return {
    parent: number(4),
    cpuSeconds: (number(14) + number(15)) / TICKS_PER_SECOND,
    childrenCpuSeconds: (number(16) + number(17)) / TICKS_PER_SECOND,
    threads: number(20),
  };
}

/** Bytes. */
export interface Resident {
  /** Everything of the process that is in memory, pages of its executable file included. */
  readonly resident: number;
  /** Of that, pages that belong to it alone and to no file. */
  readonly anonymous: number;
}

/** /proc/PID/statm: counts of pages. */
export function parseStatm(text: string, pageSize = 4096): Resident {
  const [, resident, shared] = text.split(" ");
  const all = whole(resident, "statm");
  return { resident: all * pageSize, anonymous: (all - whole(shared, "statm")) * pageSize };
}

/** A line "Pss:   123 kB" of /proc/PID/smaps_rollup, in bytes. */
export function parseRollup(text: string, name: "Rss" | "Pss" | "Private_Dirty" | "Anonymous"): number {
  const found = new RegExp(`^${name}: +([0-9]+) kB$`, "m").exec(text);
  return whole(found?.[1], "smaps_rollup") * 1024;
}

function whole(text: string | undefined, file: string): number {
  if (text !== undefined && /^[0-9]+$/.test(text)) return Number(text);
  throw new WeftError("invalid", `/proc/PID/${file} is not as expected: ${text}`);
}

/** Throws when there is no such process. */
export const readStat = (pid: number): ProcessStat => parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
export const readResident = (pid: number): Resident => parseStatm(readFileSync(`/proc/${pid}/statm`, "utf8"));
export const readRollup = (
  pid: number,
): { readonly rss: number; readonly pss: number; readonly anonymous: number } => {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const of = (name: Parameters<typeof parseRollup>[1]): number => parseRollup(text, name);
  return { rss: of("Rss"), pss: of("Pss"), anonymous: of("Anonymous") };
};

/** "VmHWM:  123 kB" of /proc/PID/status: the most that was ever resident, in bytes. */
export function parsePeak(text: string): number {
  return whole(/^VmHWM:\s+([0-9]+) kB$/m.exec(text)?.[1], "status") * 1024;
}
export const readPeak = (pid: number): number => parsePeak(readFileSync(`/proc/${pid}/status`, "utf8"));
