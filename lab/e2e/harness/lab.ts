/** One lab through the command line. */
import { readFileSync } from "node:fs";
import type { AgentStatus } from "@weft/model";
import type { LabCondition } from "../../describe.ts";
import type { LabStatus, PodStatus } from "../../status.ts";
import { planTopology, type Topology } from "../../topology.ts";
import type { Report } from "./report.ts";
import { type Done, newLabName, ok, until, weft, weftOk } from "./weft.ts";

export class Lab {
  readonly name = newLabName();
  /** Options of `weft lab up`. */
  readonly words: readonly string[];

  constructor(...words: readonly string[]) {
    this.words = words;
  }

  up(...more: readonly string[]): Promise<Done> {
    return weft("lab", "up", "--name", this.name, ...this.words, ...more);
  }

  async upOk(): Promise<number> {
    const done = await this.up();
    if (done.code !== 0) {
      throw new Error(`lab up ${this.words.join(" ")}: exit code ${done.code}\n${await this.#story(done)}`);
    }
    return done.ms;
  }

  /** What a lab that is not ready says of itself: the command's last words, and those of all who run in it. */
  async #story({ stdout, stderr }: Done): Promise<string> {
    const logs = [
      ...new Bun.Glob("**/*.log").scanSync({ cwd: `/run/weft-lab/${this.name}`, absolute: true }),
    ];
    const ends = logs
      .filter((file) => !file.includes("/logs/"))
      .flatMap((file) => [`-- ${file}`, ...readFileSync(file, "utf8").trimEnd().split("\n").slice(-4)]);
    const nodes = (await this.condition().catch(() => undefined))?.nodes ?? [];
    return [
      ...ends,
      ...nodes.map((node) => JSON.stringify(node)),
      ...`${stdout}\n${stderr}`.trimEnd().split("\n").slice(-12),
    ].join("\n");
  }

  down(): Promise<Done> {
    return weft("lab", "down", "--name", this.name);
  }

  async check(...words: readonly string[]): Promise<{ code: number; report: Report }> {
    const { code, stdout, stderr } = await weft("check", "--lab", this.name, "--json", ...words);
    if (code !== 0 && code !== 1) throw new Error(`weft check: exit code ${code}: ${stderr}`);
    return { code, report: JSON.parse(stdout) as Report };
  }

  /** The words of `weft status`. */
  status(): Promise<Done> {
    return weft("status", "--lab", this.name);
  }

  async agents(): Promise<AgentStatus[]> {
    const { stdout } = await weft("status", "--lab", this.name, "--json");
    return (JSON.parse(stdout) as { agents: AgentStatus[] }).agents;
  }

  async agent(node: string): Promise<AgentStatus> {
    const found = (await this.agents()).find((a) => a.node === node);
    if (found === undefined) throw new Error(`no agent on ${node}`);
    return found;
  }

  async condition(): Promise<LabStatus> {
    const { stdout } = await weft("lab", "status", "--name", this.name, "--json");
    const condition = JSON.parse(stdout) as LabCondition;
    if (condition.state !== "up") throw new Error(condition.message);
    return condition.status;
  }

  async pod(name: string): Promise<PodStatus | undefined> {
    return (await this.condition()).pods.find((p) => p.name === name);
  }

  async podOn(node: string): Promise<PodStatus> {
    const found = (await this.condition()).pods.find((p) => p.node === node && !p.hostNetwork && p.ready);
    if (found === undefined) throw new Error(`no pod on ${node}`);
    return found;
  }

  untilReady(pod: string): Promise<PodStatus> {
    let last: PodStatus | undefined;
    return until(
      `${pod} is ready`,
      60_000,
      async () => {
        last = await this.pod(pod);
        return last?.ready === true && last;
      },
      () => last,
    );
  }

  /** Runs a line of bash in a network of the lab. */
  exec(target: string, line: string): Promise<Done> {
    return weft("lab", "exec", "--name", this.name, target, "--", "bash", "-c", line);
  }

  /** The same, for what must succeed; returns its output. */
  async sh(target: string, line: string): Promise<string> {
    return ok(await this.exec(target, line), `${target}: ${line}`);
  }

  pause(duration: string): Promise<string> {
    return weftOk("agent", "pause", "--for", duration, "--lab", this.name);
  }

  get topology(): Topology {
    const record = JSON.parse(readFileSync(`/run/weft-lab/${this.name}/lab.json`, "utf8")) as {
      options: Parameters<typeof planTopology>[0];
    };
    return planTopology(record.options);
  }
}
