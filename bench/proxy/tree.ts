/** A process and its children together: CPU, and the most memory that they had at one moment. */
import { readFileSync } from "node:fs";
import { readResident, readStat } from "../proc.ts";

export interface TreeWatch {
  /** Bytes: the most so far, of all together. */
  readonly peak: number;
  /** Children that were seen; some end before anybody looks. */
  readonly children: number;
  /** It has children now. */
  busy(): boolean;
  /** Bytes now. */
  now(): number;
  stop(): void;
}

const LOOK_EVERY_MS = 20;

export function watchTree(pid: number): TreeWatch {
  const seen = new Set<number>();
  let peak = 0;
  const look = (): number => {
    let sum = 0;
    for (const each of [pid, ...childrenOf(pid)]) {
      if (each !== pid) seen.add(each);
      try {
        sum += readResident(each).resident;
      } catch {
        // It has ended.
      }
    }
    peak = Math.max(peak, sum);
    return sum;
  };
  const timer = setInterval(look, LOOK_EVERY_MS);
  return {
    get peak() {
      return peak;
    },
    get children() {
      return seen.size;
    },
    busy: () => childrenOf(pid).length > 0,
    now: look,
    stop: () => clearInterval(timer),
  };
}

/** Of all of its threads, and theirs. */
function childrenOf(pid: number): number[] {
  const found: number[] = [];
  try {
    for (const thread of new Bun.Glob("*").scanSync({ cwd: `/proc/${pid}/task`, onlyFiles: false })) {
      const text = readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8");
      for (const word of text.split(" ")) if (word !== "") found.push(Number(word));
    }
  } catch {
    // It has ended.
  }
  return found.flatMap((child) => [child, ...childrenOf(child)]);
}

/** Seconds, of the process and its children that have ended. */
export function treeCpu(pid: number): number {
  const { cpuSeconds, childrenCpuSeconds } = readStat(pid);
  return cpuSeconds + childrenCpuSeconds;
}
