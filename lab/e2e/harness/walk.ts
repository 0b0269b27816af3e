/**
 * A walk through a page: its commands are run in order, and must do what the page says. The page is Markdown with
 * <!-- walk:start --> and <!-- walk:end --> around the walk; in it
 *
 *     $ COMMAND          a line of bash
 *     # exit N           the command before it exits with N instead of 0
 *     # shows TEXT       its standard output has TEXT in it
 *     # within N s       it is repeated until all that is so, for N seconds at most
 *
 * The walk runs in PID and mount namespaces of its own with empty directories for labs and named network
 * namespaces: its lab has the name that every reader's has, beside whatever is up on the machine.
 */
import { readFileSync } from "node:fs";
import { type Done, run, start } from "./weft.ts";

/** Nothing takes longer than this. */
const HOLD_MS = 900_000;

export interface Step {
  readonly command: string;
  readonly exit: number;
  readonly shows: readonly string[];
  readonly withinMs: number;
}

/** The steps of a page. Undefined when it has no walk; throws when the walk is not well written. */
export function parseWalk(page: string): Step[] | undefined {
  const walk = /<!-- walk:start -->(.*?)<!-- walk:end -->/s.exec(page)?.[1];
  if (walk === undefined) return undefined;
  const steps: { command: string; exit: number; shows: string[]; withinMs: number }[] = [];
  for (const [, block = ""] of walk.matchAll(/^```console\n(.*?)^```$/gms)) {
    for (const line of block.split("\n")) {
      if (line.startsWith("$ ")) {
        steps.push({ command: line.slice(2).trim(), exit: 0, shows: [], withinMs: 0 });
        continue;
      }
      const word = /^# (exit|shows|within) (.*)$/.exec(line);
      const step = steps.at(-1);
      if (word === null) {
        if (line.startsWith("#")) throw new Error(`not understood in the walk: ${line}`);
        continue;
      }
      if (step === undefined) throw new Error(`before any command: ${line}`);
      const [, kind, text = ""] = word;
      if (kind === "shows") step.shows.push(text);
      else if (kind === "exit") step.exit = number(/^(\d+)$/, text, line);
      else step.withinMs = number(/^(\d+) s$/, text, line) * 1000;
    }
  }
  if (steps.length === 0) throw new Error("the walk has no command");
  return steps;
}

function number(pattern: RegExp, text: string, line: string): number {
  const found = pattern.exec(text)?.[1];
  if (found === undefined) throw new Error(`not understood in the walk: ${line}`);
  return Number(found);
}

/** What the command did not do; undefined when it did all that the page says. */
export function faultOf(step: Step, { code, stdout, stderr }: Done): string | undefined {
  const said = `\n${stdout}\n${stderr}`;
  if (code !== step.exit) return `exit code ${code}, not ${step.exit}${said}`;
  const missing = step.shows.find((text) => !stdout.includes(text));
  return missing === undefined ? undefined : `does not show "${missing}"${said}`;
}

export interface Place {
  run(command: string): Promise<Done>;
  /** Ends everything that was started there. */
  leave(): Promise<void>;
}

/** An empty place; `./weft` there is `executable`. */
export async function enterPlace(executable: string): Promise<Place> {
  const script = [
    "mkdir -p /run/weft-lab /run/netns",
    "mount -t tmpfs none /run/weft-lab && mount -t tmpfs none /run/netns && echo entered",
    // Process 1 of the namespace: with it all others end, and it takes in those whose parent has gone.
    "while sleep 60; do :; done",
  ];
  const unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
  const holder = start(
    ["setpriv", "--pdeathsig", "KILL", ...unshare, "bash", "-c", script.join("\n")],
    HOLD_MS,
  );
  const { value } = await holder.stdout.getReader().read();
  const leave = async (): Promise<void> => {
    holder.kill("SIGKILL");
    await holder.exited;
  };
  if (value === undefined) {
    await leave();
    throw new Error(`cannot make the place for the walk: ${await new Response(holder.stderr).text()}`);
  }
  const init = readFileSync(`/proc/${holder.pid}/task/${holder.pid}/children`, "utf8").trim();
  return {
    run: (command) =>
      run([
        ...["nsenter", "--target", init, "--mount", "--pid", "--wd=."],
        ...["bash", "-c", command.replaceAll(/(?<=^|[\s;|&(])\.\/weft(?=\s|$)/g, executable)],
      ]),
    leave,
  };
}
