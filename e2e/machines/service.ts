/**
 * A long-running program of a machine, started again when it ends by itself, as a service manager would; its output is
 * appended to a file.
 */
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { WeftError } from "@weft/base";

const RESTART_MS = 1000;
const GRACE_MS = 10_000;

export class Service {
  readonly name: string;
  readonly log: string;
  private readonly command: () => readonly string[];
  private child: Bun.Subprocess | undefined;
  private wanted = false;

  constructor(name: string, command: () => readonly string[], log: string) {
    this.name = name;
    this.command = command;
    this.log = log;
  }

  get running(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  start(): void {
    if (this.wanted) throw new WeftError("exists", `${this.name} is started already`);
    this.wanted = true;
    this.spawn();
  }

  /** Ends it and waits until it has ended. SIGKILL leaves it no chance to tidy up. */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    this.abandon();
    const { child } = this;
    if (child === undefined) return;
    child.kill(signal);
    const late = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
    await child.exited;
    clearTimeout(late);
  }

  async restart(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    await this.stop(signal);
    this.start();
  }

  /** Lets it end without being started again: its machine is going. */
  abandon(): void {
    this.wanted = false;
  }

  /** The last lines it wrote. */
  tail(lines: number): string {
    if (!existsSync(this.log)) return "";
    return readFileSync(this.log, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
  }

  private spawn(): void {
    const log = openSync(this.log, "a");
    const child = Bun.spawn([...this.command()], { stdin: "ignore", stdout: log, stderr: log });
    closeSync(log);
    this.child = child;
    void child.exited.then(async () => {
      await Bun.sleep(RESTART_MS);
      // It may have been stopped, or started anew, meanwhile.
      if (this.wanted && this.child === child) this.spawn();
    });
  }
}
