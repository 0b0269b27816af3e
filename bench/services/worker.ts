/**
 * One measurement of services in a process of its own: `worker.ts NAMESPACE SERVICES ENDPOINTS` prints a line of JSON. What is
 * in the rows is there before the clock starts; what the table of rows, the reconcilers and the kernel make of them is measured.
 */
import { writeSync } from "node:fs";
import { createPlan, type Plan } from "@weft/apply";
import { createLogger, systemClock } from "@weft/base";
import { openNetns } from "@weft/kernel/netns";
import { createNftables } from "@weft/kernel/nftables";
import type { Kernel } from "@weft/kernel/port";
import { SERVICE_PLAN_KINDS } from "@weft/model";
import { median } from "../statistics.ts";
import { serviceRow } from "./rows.ts";

export interface Measured {
  /** Milliseconds from the rows to the kernel's last acknowledgement, and CPU of it, this process's and the kernel's. */
  readonly coldMs: number;
  readonly coldCpuMs: number;
  /** Milliseconds, median and worst, from a row with one endpoint more or less to the kernel. */
  readonly changeMs: number;
  readonly changeWorstMs: number;
  /** Another process on what the first one left: everything is read, nothing written. */
  readonly restartMs: number;
  readonly restartCpuMs: number;
  readonly restartWrites: number;
  /** Resident memory in MiB, with the rows. */
  readonly residentMiB: number;
}

const CHANGES = 100;
const WARM_UP = 20;

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

async function main(path: string, services: number, endpoints: number): Promise<Measured> {
  const most = endpoints + 1;
  const namespace = openNetns(path);
  const nftables = createNftables(namespace);
  const make = (): Plan =>
    createPlan({
      kernel: { nftables } as unknown as Kernel,
      clock: systemClock,
      logger: createLogger((text) => writeSync(2, `${text}\n`), "warn"),
      repairInterval: () => 10_000,
      kinds: SERVICE_PLAN_KINDS,
      chunk: () => 10_000,
    });
  const rows = Array.from({ length: services }, (_, n) => serviceRow(n, endpoints, most));
  const start = async (plan: Plan): Promise<{ ms: number; cpu: number }> => {
    const cpu = cpuMs();
    const at = performance.now();
    plan.change(rows, []);
    plan.applier.start();
    await plan.applier.settled();
    return { ms: performance.now() - at, cpu: cpuMs() - cpu };
  };
  const first = make();
  const cold = await start(first);
  const changes: number[] = [];
  for (let i = 0; i < CHANGES + WARM_UP; i++) {
    const n = (i * 7919) % services;
    for (const count of [endpoints + 1, endpoints]) {
      const row = serviceRow(n, count, most);
      const at = performance.now();
      first.change([row], []);
      await first.applier.settled();
      if (i >= WARM_UP) changes.push(performance.now() - at);
    }
  }
  const residentMiB = process.memoryUsage.rss() / 2 ** 20;
  await first.applier.stop();
  const generation = nftables.generation();
  const second = make();
  const restart = await start(second);
  await second.applier.stop();
  const restartWrites = nftables.generation() - generation;
  nftables.close();
  namespace.close();
  return {
    coldMs: cold.ms,
    coldCpuMs: cold.cpu,
    changeMs: median(changes),
    changeWorstMs: Math.max(...changes),
    restartMs: restart.ms,
    restartCpuMs: restart.cpu,
    restartWrites,
    residentMiB,
  };
}

const [path = "", services = "", endpoints = ""] = process.argv.slice(2);
writeSync(1, `${JSON.stringify(await main(path, Number(services), Number(endpoints)))}\n`);
