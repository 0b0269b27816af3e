/** Commands inside a lab, and the logs of its pods. */
import { readdirSync } from "node:fs";
import { constants } from "node:os";
import { WeftError } from "@weft/base";
import { inNetns, namedPath, openNetns } from "@weft/kernel/netns";
import { tryStatus } from "./client.ts";
import { type LabIo, requireRoot } from "./io.ts";
import { parseLabName } from "./options.ts";
import { labPaths, readRecord } from "./state.ts";
import { type PodStatus, podKey } from "./status.ts";
import { planTopology } from "./topology.ts";

export interface ExecTarget {
  /** "node1", "rack1", "spine", "outside" or "default/echo-1". */
  readonly name: string;
  readonly kind: "underlay" | "pod";
  /** Undefined for a pod whose network is not there yet. */
  readonly namespacePath: string | undefined;
}

/**
 * The target that a user means: a namespace of the underlay, a pod as NAMESPACE/NAME, or a pod's name alone when
 * only one namespace has it. Throws "not-found" or "invalid" with what there is.
 */
export function findTarget(targets: readonly ExecTarget[], asked: string): ExecTarget {
  const exact = targets.find((t) => t.name === asked);
  const byName = targets.filter((t) => t.kind === "pod" && t.name.endsWith(`/${asked}`));
  if (exact === undefined && byName.length > 1) {
    throw new WeftError(
      "invalid",
      `"${asked}" is more than one pod: ${byName.map((t) => t.name).join(", ")}`,
      {
        hint: "Name it with its namespace.",
      },
    );
  }
  const target = exact ?? byName[0];
  if (target === undefined) {
    const names = (kind: ExecTarget["kind"]): string =>
      targets
        .filter((t) => t.kind === kind)
        .map((t) => t.name)
        .join(", ");
    const pods = `pods: ${names("pod") || "none"}.`;
    // Only pods have logs.
    const nodes = names("underlay");
    const what = nodes === "" ? "pod" : "node or pod";
    throw new WeftError("not-found", `the lab has no ${what} "${asked}"`, {
      object: asked,
      hint: nodes === "" ? `There are ${pods}` : `There are ${nodes}; and ${pods}`,
    });
  }
  return target;
}

/**
 * Runs a command in a target's network with this terminal. Returns its exit code, 128 + signal, or 127 when there
 * is no such command; a leading "--" is no part of it. Only the network is another: files and processes are this machine's.
 */
export async function labExec(
  name: string,
  asked: string,
  words: readonly string[],
  io: Pick<LabIo, "write">,
): Promise<number> {
  requireRoot();
  const lab = parseLabName(name);
  // As users of kubectl write it: weft lab exec POD -- COMMAND.
  const argv = words[0] === "--" ? words.slice(1) : words;
  if (argv.length === 0) {
    throw new WeftError("invalid", "no command", { hint: `Add one: weft lab exec ${asked} -- ip addr` });
  }
  const target = findTarget(await listTargets(lab), asked);
  if (target.namespacePath === undefined) {
    throw new WeftError("unavailable", `pod ${target.name} has no network yet`, {
      object: `pod ${target.name}`,
      hint: "See why with weft lab status.",
    });
  }
  const namespace = openNetns(target.namespacePath);
  // Ctrl-C reaches the command too, and it is for the command to decide what to do.
  const stay = (): void => {};
  process.on("SIGINT", stay);
  try {
    const child = inNetns(namespace.fd, () =>
      Bun.spawn([...argv], {
        stdin: "inherit",
        stdout: "inherit",
        stderr: "inherit",
        env: { ...process.env, WEFT_LAB: lab, WEFT_LAB_TARGET: target.name },
      }),
    );
    await child.exited;
    return child.signalCode === null ? (child.exitCode ?? 1) : 128 + signalNumber(child.signalCode);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    io.write(`${argv[0]}: command not found\n`);
    return 127;
  } finally {
    process.off("SIGINT", stay);
    namespace.close();
  }
}

/** Everything that `exec` takes. Pods are known by the supervisor only. Throws "not-found" without such a lab. */
export async function listTargets(lab: string): Promise<ExecTarget[]> {
  const { options } = existing(lab);
  const underlay = planTopology(options).namespaces.map(
    (n): ExecTarget => ({
      name: n.label,
      kind: "underlay",
      namespacePath: namedPath(n.name),
    }),
  );
  const pods = (await tryStatus(lab))?.pods ?? [];
  return [...underlay, ...pods.map(podTarget)];
}

const podTarget = (pod: PodStatus): ExecTarget => ({
  name: podKey(pod),
  kind: "pod",
  namespacePath: pod.namespacePath,
});

/** The lab's record. Throws "not-found". */
export function existing(lab: string): NonNullable<ReturnType<typeof readRecord>> {
  const record = readRecord(lab);
  if (record !== undefined) return record;
  throw new WeftError("not-found", `there is no lab "${lab}"`, {
    object: `lab ${lab}`,
    hint: "Make it with weft lab up.",
  });
}

const signalNumber = (signal: NodeJS.Signals | number): number =>
  typeof signal === "number" ? signal : (constants.signals[signal] ?? 0);

export interface LogOptions {
  /** One container alone; default: all, each line with the container's name before it when there are several. */
  readonly container?: string;
}

/** Prints what a pod's containers have written. Returns the exit code. */
export async function labLogs(
  name: string,
  asked: string,
  io: Pick<LabIo, "write">,
  options: LogOptions = {},
): Promise<number> {
  requireRoot();
  const lab = parseLabName(name);
  existing(lab);
  const pods = (await tryStatus(lab))?.pods.map(podTarget) ?? [];
  const { name: pod } = findTarget(pods, asked);
  const directory = labPaths(lab).podLogs(...(pod.split("/") as [string, string]));
  const containers = logFiles(directory);
  const chosen = containers.filter((c) => options.container === undefined || c === options.container);
  if (options.container !== undefined && chosen.length === 0) {
    throw new WeftError("not-found", `pod ${pod} has no log of a container "${options.container}"`, {
      object: `pod ${pod}`,
      hint: `There are ${containers.join(", ") || "none yet"}.`,
    });
  }
  for (const container of chosen) {
    const text = await Bun.file(`${directory}/${container}.log`).text();
    io.write(chosen.length === 1 ? text : text.replace(/^(?=.)/gm, `[${container}] `));
  }
  return 0;
}

function logFiles(directory: string): string[] {
  try {
    return readdirSync(directory)
      .map((file) => file.replace(/\.log$/, ""))
      .sort();
  } catch {
    return [];
  }
}
