/**
 * A PID namespace with a /proc of its own, in which a process is called like a container runtime: whoever runs in there
 * sees all processes of "the node", whatever else there is on this machine.
 */
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { spawnIn } from "@weft/kernel/netns";
import { eventually } from "./wait.ts";

export interface OwnProcess {
  /** Kills it, and returns once it is gone. */
  end(): Promise<void>;
}

/** The child of that name, if there is one by now. */
function childOf(parent: number, comm: string): number | undefined {
  const [child = ""] = readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8").trim().split(" ");
  if (child === "") return undefined;
  return readFileSync(`/proc/${child}/comm`, "utf8").trim() === comm ? Number(child) : undefined;
}

export class OwnProcesses {
  readonly #holder: Bun.Subprocess;
  readonly #pid: number;
  readonly #directory: string;

  private constructor(holder: Bun.Subprocess, pid: number, directory: string) {
    this.#holder = holder;
    this.#pid = pid;
    this.#directory = directory;
  }

  static async start(): Promise<OwnProcesses> {
    const runtime = join(tmpdir(), `weft-t-runtime-${process.pid}`, "containerd");
    mkdirSync(join(runtime, ".."), { recursive: true });
    copyFileSync(Bun.which("sleep") as string, runtime);
    // Names of network namespaces that are made later are to be seen in there.
    const unshare = ["unshare", "--pid", "--mount", "--propagation", "slave", "--fork", "--kill-child"];
    const script = 'mount -t proc proc /proc && exec "$0" 3600';
    const holder = Bun.spawn(["setpriv", "--pdeathsig", "KILL", ...unshare, "sh", "-c", script, runtime]);
    const pid = await eventually("the runtime runs", () => childOf(holder.pid, "containerd"));
    return new OwnProcesses(holder, pid, join(runtime, ".."));
  }

  /** Starts a program in there, in a network namespace, and waits until it is that. */
  async run(namespace: { readonly fd: number }, ...argv: string[]): Promise<OwnProcess> {
    const words = ["nsenter", `--pid=/proc/${this.#pid}/ns/pid`, "setpriv", "--pdeathsig", "KILL"];
    const parent = spawnIn(namespace, [...words, ...argv], { stdout: "ignore" });
    const comm = basename(argv[0] as string);
    const pid = await eventually(`${comm} runs`, () => childOf(parent.pid, comm));
    return {
      async end() {
        process.kill(pid, "SIGKILL");
        await parent.exited;
      },
    };
  }

  /** Words that start an executable in there, with its /proc. It is copied, since its file may have no name. */
  by = (executable: string): string[] => {
    const copy = join(tmpdir(), `weft-t-runtime-${process.pid}`, "weft");
    if (!existsSync(copy)) copyFileSync(executable, copy);
    const mounts = `--mount=/proc/${this.#pid}/ns/mnt`;
    return ["nsenter", `--pid=/proc/${this.#pid}/ns/pid`, mounts, "setpriv", "--pdeathsig", "KILL", copy];
  };

  async stop(): Promise<void> {
    this.#holder.kill("SIGKILL");
    await this.#holder.exited;
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
