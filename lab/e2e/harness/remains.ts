/** What is left of a lab, anywhere on this machine. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { namedPath } from "@weft/kernel/netns";
import { labNamespaces } from "../../build.ts";
import { isAlive, namespaceIdentity, type ProcessIdentity, processesIn } from "../../processes.ts";
import { LAB_DIRECTORY, readProcesses } from "../../state.ts";
import { run } from "./weft.ts";

/** What a running lab consists of, to be looked for after it is down. */
export interface Footprint {
  readonly name: string;
  /** Those that it has started, and all others in its namespaces. */
  readonly processes: readonly ProcessIdentity[];
  readonly namespaces: number;
}

export function footprint(name: string): Footprint {
  const identities = labNamespaces(name).flatMap((n) => namespaceIdentity(namedPath(n)) ?? []);
  const namespaces = new Set(identities);
  const processes = [...readProcesses(name), ...processesIn(namespaces)];
  return { name, processes, namespaces: namespaces.size };
}

/** Names of everything that is still there; empty when the lab left nothing. */
export async function remains({ name, processes }: Footprint): Promise<string[]> {
  const files = existsSync(LAB_DIRECTORY) ? readdirSync(LAB_DIRECTORY) : [];
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return [
    ...readdirSync("/run/netns").filter((n) => n.startsWith(`weft-${name}-`)),
    ...files.filter((f) => f === name || f.startsWith(`${name}.`)),
    ...mounts.filter((line) => line.includes(`/weft-${name}-`) || line.includes(`${LAB_DIRECTORY}/${name}`)),
    ...processes.filter(isAlive).map((p) => `process ${p.pid}`),
    ...processesOf(name),
    ...(await inRootNamespace()),
  ];
}

/** Processes that have the lab's directory, or its name as --name, among their words. */
function processesOf(name: string): string[] {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      const named = words.includes(`--name\0${name}\0`) || words.includes(`${LAB_DIRECTORY}/${name}/`);
      return named ? [`process ${pid}: ${words.replaceAll("\0", " ")}`] : [];
    } catch {
      return [];
    }
  });
}

/** Ours: ranges of a lab's underlay and pods, links, tables. */
const OURS = /\bweft|\b198\.1[89]\.|\b10\.244\.|\bfd57:eff7:|\bfd00:10:244:/;

/** Lines about anything of a lab in the machine's own network namespace. */
async function inRootNamespace(): Promise<string[]> {
  const commands = [
    ["ip", "-br", "link"],
    ["ip", "-br", "address"],
    ["ip", "route", "show", "table", "all"],
    ["ip", "-6", "route", "show", "table", "all"],
    ["ip", "rule"],
    ["ip", "-6", "rule"],
    ["nft", "list", "ruleset"],
  ];
  const outputs = await Promise.all(commands.map((command) => run(command)));
  return outputs.flatMap(({ stdout }) => stdout.split("\n").filter((line) => OURS.test(line)));
}
