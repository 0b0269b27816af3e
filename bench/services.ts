/**
 * Services: how long it takes until a node that knows nothing has all of a cluster's services in its kernel, and until
 * one changed endpoint is there; what a restart costs; memory. Of the half from plan rows on: reading and compiling
 * the cluster's objects comes before it.
 */
import { WeftError } from "@weft/base";
import { describeMachine } from "./machine.ts";
import type { BenchOptions } from "./options.ts";
import type { Figure, Report } from "./report.ts";
import type { Measured } from "./services/worker.ts";
import type { Session } from "./session/session.ts";
import { median } from "./statistics.ts";

const ROUNDS = 3;
const ENDPOINTS = 5;

export async function benchServices(
  session: Session,
  options: BenchOptions,
  say: (text: string) => void,
): Promise<Report> {
  const figures: Figure[] = [];
  for (const services of options.services === 0 ? [10_000, 30_000] : [options.services]) {
    const rounds: Measured[] = [];
    for (let round = 0; round < (options.rounds || ROUNDS); round++) {
      say(`${services} services with ${ENDPOINTS} endpoints, round ${round + 1}`);
      const node = session.node(`services-${services}-${round}`);
      rounds.push(await measure(node.path, services));
    }
    const of = (field: keyof Measured): number => median(rounds.map((r) => r[field]));
    const add = (name: string, unit: Figure["unit"], weft: number): void =>
      void figures.push({
        name: `${services} services, ${name}`,
        unit,
        weft,
        peer: undefined,
        better: "lower",
      });
    add("cold start", "ms", of("coldMs"));
    add("cold start, CPU", "ms", of("coldCpuMs"));
    add("one endpoint changed, median", "ms", of("changeMs"));
    add("one endpoint changed, worst of 200", "ms", of("changeWorstMs"));
    add("restart", "ms", of("restartMs"));
    add("restart, CPU", "ms", of("restartCpuMs"));
    add("restart, transactions", "count", of("restartWrites"));
    add("resident", "MiB", of("residentMiB"));
  }
  return {
    suite: "services",
    peer: "none",
    figures,
    notes: [
      `Each service has one TCP port and ${ENDPOINTS} endpoints of its own. From plan rows to the kernel.`,
      "CPU is of the process, kernel included: compare by it when the machine is busy.",
    ],
    machine: describeMachine(options.weft, ["nftables"]),
    command: `bun run bench/run.ts services${options.services === 0 ? "" : ` --services ${options.services}`}`,
    date: new Date().toISOString().slice(0, 10),
  };
}

async function measure(path: string, services: number): Promise<Measured> {
  const worker = Bun.spawn(
    [process.execPath, `${import.meta.dir}/services/worker.ts`, path, String(services), String(ENDPOINTS)],
    { stdout: "pipe", stderr: "inherit" },
  );
  const [text, status] = await Promise.all([new Response(worker.stdout).text(), worker.exited]);
  if (status !== 0) throw new WeftError("internal", `the measurement of ${services} services failed`);
  return JSON.parse(text) as Measured;
}
