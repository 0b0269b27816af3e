/**
 * The most memory that the plugins' processes had at one moment, by looking every few milliseconds. In a worker,
 * because the main thread is busy with starting them.
 */
import { readdirSync } from "node:fs";
import { readResident, readStat } from "../proc.ts";

/** Bytes. */
export interface Peak {
  readonly processes: number;
  /** Of all plugin processes together; pages of one file count once for each process that has them. */
  readonly resident: number;
  /** Memory of their own, of no file. */
  readonly anonymous: number;
  readonly agent: number;
  readonly agentAnonymous: number;
}

export interface WatchRequest {
  /** Process whose descendants are looked at. */
  readonly root: number;
  /** Looked at by itself. */
  readonly agent: number | undefined;
  /** Set to 1 to end. */
  readonly stop: SharedArrayBuffer;
}

const LOOK_EVERY_MS = 3;
const NOTHING: Peak = { processes: 0, resident: 0, anonymous: 0, agent: 0, agentAnonymous: 0 };

/** Blocks until `stop`; returns the moment with the most memory, of plugins and agent together. */
export function watchMemory({ root, agent, stop }: WatchRequest): Peak {
  const flag = new Int32Array(stop);
  const strangers = new Set(processes());
  const ours = new Set<number>();
  let peak = NOTHING;
  while (Atomics.load(flag, 0) === 0) {
    const moment = look(root, agent, strangers, ours);
    if (moment.resident + moment.agent > peak.resident + peak.agent) peak = moment;
    Atomics.wait(flag, 0, 0, LOOK_EVERY_MS);
  }
  return peak;
}

function look(root: number, agent: number | undefined, strangers: Set<number>, ours: Set<number>): Peak {
  let sum = NOTHING;
  for (const pid of processes()) {
    if (strangers.has(pid)) continue;
    try {
      if (!ours.has(pid)) {
        const { parent } = readStat(pid);
        if (parent !== root && !ours.has(parent)) {
          strangers.add(pid);
          continue;
        }
        ours.add(pid);
      }
      const { resident, anonymous } = readResident(pid);
      // A process that has ended and waits to be noticed has none.
      if (resident === 0) continue;
      sum = {
        ...sum,
        processes: sum.processes + 1,
        resident: sum.resident + resident,
        anonymous: sum.anonymous + anonymous,
      };
    } catch {
      // It ended while it was looked at.
    }
  }
  if (agent === undefined) return sum;
  const { resident, anonymous } = readResident(agent);
  return { ...sum, agent: resident, agentAnonymous: anonymous };
}

/** In ascending order, so that a parent mostly comes before its child. */
const processes = (): number[] =>
  readdirSync("/proc")
    .filter((name) => /^[1-9][0-9]*$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);

/** Watches while `work` runs. */
export async function peakDuring(agent: number | undefined, work: () => Promise<unknown>): Promise<Peak> {
  const stop = new SharedArrayBuffer(4);
  const worker = new Worker(new URL("./memory-worker.ts", import.meta.url).href);
  const ready = Promise.withResolvers<void>();
  const result = Promise.withResolvers<Peak>();
  worker.onmessage = ({ data }: MessageEvent<Peak | "ready">) => {
    if (data === "ready") ready.resolve();
    else result.resolve(data);
  };
  worker.onerror = (event) => {
    ready.reject(new Error(event.message));
    result.reject(new Error(event.message));
  };
  try {
    worker.postMessage({ root: process.pid, agent, stop } satisfies WatchRequest);
    await ready.promise;
    await work();
    const flag = new Int32Array(stop);
    Atomics.store(flag, 0, 1);
    Atomics.notify(flag, 0);
    return await result.promise;
  } finally {
    worker.terminate();
  }
}
