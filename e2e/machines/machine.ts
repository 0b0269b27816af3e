/**
 * A machine: one network namespace of the underlay, and mount, PID, UTS, IPC and cgroup namespaces that its first
 * process holds. Every path inside is the standard one. When the first process ends, the kernel ends all others and
 * takes the mounts with them: that is what pulling the plug is.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { WeftError } from "@weft/base";
import type { Programs } from "../build/programs.ts";
import { attempt, type CommandOptions, type Outcome, outputOf, until } from "../command.ts";
import { MACHINES, PREFIX, PROGRAMS } from "../paths.ts";
import { hierarchies, makeCgroups, removeCgroups } from "./cgroups.ts";
import { Service } from "./service.ts";
import type { Underlay } from "./underlay.ts";

export interface MachineOptions {
  readonly cluster: string;
  readonly name: string;
  readonly rack: number;
  /** Its number on the rack's subnet. */
  readonly number: number;
  readonly underlay: Underlay;
  readonly programs: Programs;
}

const NAMESPACES = ["--mount", "--pid", "--uts", "--ipc", "--cgroup"];

export class Machine {
  readonly name: string;
  /** Its disk and its logs on this host. */
  readonly directory: string;
  readonly services = new Map<string, Service>();
  private readonly options: MachineOptions;
  private readonly cgroup: string;
  private enter: readonly string[] = [];
  private held = 0;

  constructor(options: MachineOptions) {
    this.options = options;
    this.name = options.name;
    this.directory = join(MACHINES, options.cluster, options.name);
    this.cgroup = `${PREFIX}${options.cluster}-${options.name}`;
  }

  /** Makes its namespaces; none of its services runs yet. */
  async powerOn(): Promise<void> {
    const { name, rack, number, underlay, programs } = this.options;
    await underlay.addMachine(name, rack, number);
    mkdirSync(this.directory, { recursive: true });
    const cgroups = makeCgroups(this.cgroup);
    const log = Bun.file(join(this.directory, "boot.log"));
    const init = [join(import.meta.dir, "init.sh"), name, this.directory, PROGRAMS, programs.pause];
    // The cgroup namespace is rooted where its maker stands, so the maker has to be in the machine's cgroups first.
    const script = 'while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs"; shift; done; shift; exec "$@"';
    const maker = Bun.spawn(
      [
        ...["sh", "-ec", script, "sh", ...cgroups, "--"],
        ...["nsenter", `--net=/run/netns/${underlay.namespace(name)}`],
        ...["unshare", ...NAMESPACES, "--fork", "--kill-child=SIGKILL", ...init],
        ...hierarchies().map((h) => `${h.path}:${h.options}`),
      ],
      { stdin: "ignore", stdout: log, stderr: log },
    );
    const children = `/proc/${maker.pid}/task/${maker.pid}/children`;
    const pid = await until(
      `machine ${name} is up`,
      20,
      () => {
        if (maker.exitCode !== null) return 0;
        const child = readFileSync(children, "utf8").trim();
        return existsSync(`/proc/${child}/root/run/machine-is-up`) ? Number(child) : undefined;
      },
      20,
    );
    if (pid === 0) {
      const said = readFileSync(join(this.directory, "boot.log"), "utf8").trim();
      throw new WeftError("internal", `machine ${name} ended at its start: ${said}`);
    }
    this.held = pid;
    this.enter = [programs.enter, String(pid), ...cgroups, "--"];
  }

  /** Ends it at once; its disk stays. */
  async powerOff(): Promise<void> {
    this.abandon();
    await removeCgroups(this.cgroup, true);
    await this.options.underlay.removeMachine(this.name);
  }

  /** Of its first process, as this host counts. */
  get pid(): number {
    return this.held;
  }

  /** Runs a command inside and gives what it wrote. Throws "internal" when it fails. */
  async exec(command: readonly string[], options?: CommandOptions): Promise<string> {
    return outputOf(`${this.name}: ${command.join(" ")}`, await this.attempt(command, options));
  }

  /** Runs a command inside, whatever comes of it. */
  attempt(command: readonly string[], options?: CommandOptions): Promise<Outcome> {
    return attempt(this.command(command), options);
  }

  /** The command of this host that runs `command` inside; it ends with what runs inside, and takes it with it. */
  command(command: readonly string[]): string[] {
    return [...this.enter, ...command];
  }

  /** Path by which this host reaches a path of the machine. */
  path(inside: string): string {
    return `/proc/${this.held}/root${inside}`;
  }

  /** Writes a file of the machine, whole or not at all: a reader never sees a part. */
  async write(inside: string, content: string | object): Promise<void> {
    const text = typeof content === "string" ? content : `${JSON.stringify(content, null, 2)}\n`;
    const file = this.path(inside);
    // Hidden: programs that read whole directories must not take it for one of theirs.
    const unfinished = join(dirname(file), `.${basename(file)}.tmp`);
    mkdirSync(dirname(file), { recursive: true });
    await Bun.write(unfinished, text);
    renameSync(unfinished, file);
  }

  remove(inside: string): void {
    rmSync(this.path(inside), { recursive: true, force: true });
  }

  /** A long-running program inside, under a name of this machine's own. It is not started yet. */
  service(name: string, command: readonly string[]): Service {
    const inside = (): string[] => this.command(command);
    const service = new Service(`${this.name}/${name}`, inside, join(this.directory, `${name}.log`));
    this.services.set(name, service);
    return service;
  }

  /** Its services are not started again: it is going. */
  abandon(): void {
    for (const service of this.services.values()) service.abandon();
  }

  /** The service of that name. Throws "not-found". */
  running(name: string): Service {
    const service = this.services.get(name);
    if (service === undefined) throw new WeftError("not-found", `${this.name} has no service ${name}`);
    return service;
  }
}
