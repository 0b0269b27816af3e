/**
 * `weft lab up`: topology, supervisor, and waiting until everything is ready.
 *
 *   what is there                                  what up does
 *   the same lab, supervised                       waits, shows it
 *   the same lab, its supervisor was killed        starts a supervisor, which replaces the pods
 *   a lab of that name with other options          error: down first
 *   a part of one, or one from before the boot     removes it, makes a new one
 *   nothing                                        makes a new one
 */
import { closeSync, openSync, readFileSync } from "node:fs";
import { WeftError } from "@weft/base";
import { buildUnderlay, isBuilt, labNamespaces } from "./build.ts";
import { tryStatus } from "./client.ts";
import { tearDown } from "./down.ts";
import { withAbsoluteManifests, writeFiles } from "./files.ts";
import { type LabIo, requireRoot } from "./io.ts";
import { withLock } from "./lock.ts";
import { type LabOptions, optionDifferences } from "./options.ts";
import { bootId, identify, isAlive, terminate } from "./processes.ts";
import { ending } from "./show.ts";
import { labPaths, listLabs, readProcesses, readRecord, writeRecord } from "./state.ts";
import { isSettled, type LabStatus, notReady } from "./status.ts";
import { planTopology, type Topology } from "./topology.ts";

const READY_MS = 60_000;
/** Agents start side by side on few cores: a large lab may take longer. */
const READY_PER_NODE_MS = 1000;
const ASK_EVERY_MS = 50;

export interface UpOptions {
  /** Milliseconds until it gives up waiting. Default 60,000, or 1,000 for each node if that is more. */
  readonly readyMs?: number;
}

/**
 * Makes the lab and waits until all agents and pods are ready; the lab stays when they are not in time. Returns
 * the exit code. Throws "conflict" when a lab of that name with other options is up, and what `io.signal` was
 * aborted with after removing what it made.
 */
export async function labUp(asked: LabOptions, io: LabIo, settings: UpOptions = {}): Promise<number> {
  requireRoot();
  const options = withAbsoluteManifests(asked);
  const started = performance.now();
  const steps = new Steps(io);
  return await withLock(options.name, async () => {
    const state = await findState(options);
    if (state === "leftover") {
      await tearDown(options.name);
      steps.done("removed what an earlier run left");
    }
    const plan = planTopology(options);
    const isNew = state === "leftover" || state === "nothing";
    try {
      if (isNew) {
        await makeUnderlay(plan, io);
        steps.done(`underlay: ${plan.namespaces.length} namespaces, ${plan.links.length} links`);
      }
      if (state === "supervised") io.write(`lab "${options.name}" is up already\n`);
      else await startSupervisor(options.name, io);
      const status = await waitReady(
        options.name,
        io,
        steps,
        settings.readyMs ?? Math.max(READY_MS, options.nodes * READY_PER_NODE_MS),
      );
      // Also when the last look has found all ready: whoever interrupts a new lab does not want it.
      io.signal?.throwIfAborted();
      const seconds = ((performance.now() - started) / 1000).toFixed(2);
      io.write(`\n${ending(status, Date.now())}`);
      const faults = notReady(status);
      if (faults.length === 0) {
        io.write(`\nlab "${options.name}" is ready (${seconds} s)\n`);
        return 0;
      }
      const { base } = labPaths(options.name);
      io.write(
        [
          `\nlab "${options.name}" is not ready after ${seconds} s:`,
          ...faults.map((fault) => `  ${fault}`),
          `What its processes said is in ${base}/*.log and ${base}/nodes/*/agent.log.\n`,
        ].join("\n"),
      );
      return 1;
    } catch (error) {
      // What was there before stays, whatever happens to this command.
      if (!isNew) throw error;
      await tearDown(options.name);
      io.write(`lab "${options.name}": removed what was made so far\n`);
      throw error;
    }
  });
}

type State = "nothing" | "leftover" | "unsupervised" | "supervised";

async function findState(options: LabOptions): Promise<State> {
  const { name } = options;
  let record: ReturnType<typeof readRecord>;
  try {
    record = readRecord(name);
  } catch {
    return "leftover";
  }
  if (record === undefined) {
    return listLabs().includes(name) || labNamespaces(name).length > 0 ? "leftover" : "nothing";
  }
  if (record.bootId !== bootId() || !record.built) return "leftover";
  const differences = optionDifferences(record.options, options);
  if (differences.length > 0) {
    throw new WeftError("conflict", `lab "${name}" is up with other options: ${differences.join("; ")}`, {
      object: `lab ${name}`,
      hint: `Remove it first with weft lab down${name === "lab" ? "" : ` --name ${name}`}, or choose another --name.`,
    });
  }
  if (!isBuilt(planTopology(options))) return "leftover";
  const supervised = readProcesses(name).some((p) => p.kind === "supervisor" && isAlive(p));
  return supervised ? "supervised" : "unsupervised";
}

async function makeUnderlay(plan: Topology, io: LabIo): Promise<void> {
  io.signal?.throwIfAborted();
  writeFiles(plan);
  const record = {
    options: plan.options,
    bootId: bootId(),
    createdAt: Date.now(),
    executable: io.executable,
  };
  writeRecord(plan.options.name, { ...record, built: false });
  await buildUnderlay(plan, io.signal);
  writeRecord(plan.options.name, { ...record, built: true });
}

/** Starts it in a session of its own, and waits until it answers. */
async function startSupervisor(lab: string, io: LabIo): Promise<void> {
  const { supervisorLog } = labPaths(lab);
  const log = openSync(supervisorLog, "a", 0o600);
  const child = Bun.spawn([io.executable, "lab", "supervise", "--name", lab], {
    stdin: "ignore",
    stdout: log,
    stderr: log,
    cwd: "/",
    detached: true,
  });
  closeSync(log);
  child.unref();
  const supervisor = identify(child.pid);
  try {
    while ((await tryStatus(lab))?.supervisor.pid !== child.pid) {
      io.signal?.throwIfAborted();
      if (child.exitCode !== null || child.signalCode !== null) {
        throw new WeftError("unavailable", `the supervisor ended at once: ${lastLine(supervisorLog)}`, {
          object: `lab ${lab}`,
          hint: `See ${supervisorLog}.`,
        });
      }
      await Bun.sleep(10);
    }
  } catch (error) {
    if (supervisor !== undefined) await terminate([supervisor], 3000);
    throw error;
  }
}

const lastLine = (file: string): string => readFileSync(file, "utf8").trim().split("\n").at(-1) ?? "";

/** The last status, ready or not. Throws "unavailable" when the supervisor is gone. */
async function waitReady(lab: string, io: LabIo, steps: Steps, readyMs: number): Promise<LabStatus> {
  const end = performance.now() + readyMs;
  let agents = false;
  for (;;) {
    io.signal?.throwIfAborted();
    const status = await tryStatus(lab);
    if (status !== undefined) {
      if (!agents && status.nodes.every((n) => n.ready)) {
        agents = true;
        steps.done(`agents: ${status.nodes.length} ready`);
      }
      if (isSettled(status)) {
        steps.done(`pods: ${status.pods.filter((p) => p.ready).length} ready`);
        return status;
      }
      if (performance.now() >= end) return status;
    } else if (
      performance.now() >= end ||
      !readProcesses(lab).some((p) => p.kind === "supervisor" && isAlive(p))
    ) {
      throw new WeftError("unavailable", `the supervisor of lab "${lab}" is gone`, {
        object: `lab ${lab}`,
        hint: `See ${labPaths(lab).supervisorLog}, and run weft lab up again.`,
      });
    }
    await Bun.sleep(ASK_EVERY_MS);
  }
}

/** A line for each step with the time that it took. */
class Steps {
  readonly #io: LabIo;
  #last = performance.now();

  constructor(io: LabIo) {
    this.#io = io;
  }
  done(what: string): void {
    const now = performance.now();
    this.#io.write(`${what.padEnd(60)} ${((now - this.#last) / 1000).toFixed(2).padStart(6)} s\n`);
    this.#last = now;
  }
}
