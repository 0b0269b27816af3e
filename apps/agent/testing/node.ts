/**
 * A node for tests: a namespace with an uplink to a second one, a root directory, Node manifests, and the agent's
 * executable running inside, asked over its socket and through the plugin's executable as a runtime does.
 *
 *   outside (another node, and the router)  up0 <--- veth ---> eth0  node  <--- veths ---> pods
 *   172.30.0.1/24 fd00:30::1/64                                172.30.0.11/24 fd00:30::11/64
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseIpWithLength, parseMac } from "@weft/base";
import { nodeManifest } from "@weft/cluster";
import type { ErrorResult } from "@weft/cni";
import { type Spawn, spawnProcess } from "@weft/cni/runtime";
import { inNetns, spawnIn } from "@weft/kernel/netns";
import type { AgentStatus, Drift } from "@weft/model";
import { type AgentOptions, agentOptions } from "../options.ts";
import { executable } from "./executable.ts";
import { removeStaleNamespaces, TestNamespace } from "./namespaces.ts";
import { eventually } from "./wait.ts";

export const NODE = "node1";
export const ADDRESSES = ["172.30.0.11", "fd00:30::11"];
export const BLOCKS = ["10.240.1.0/24", "fd00:240:1::/64"];
const OUTSIDE = ["172.30.0.1/24", "fd00:30::1/64"];

export interface TestNodeOptions {
  /** "node1" by default. */
  readonly name?: string;
  readonly blocks?: readonly string[];
  readonly addresses?: readonly string[];
  /** Addresses that the uplink gets; those of the node by default. */
  readonly uplinkAddresses?: readonly string[];
  readonly settings?: string;
  /** What the agent is to be started by, given its executable: another one and words before it. */
  readonly agentBy?: (executable: string) => readonly string[];
}

/** What the plugin printed. */
export interface Answer {
  /** Null when a signal ended it. */
  readonly exit: number | null;
  readonly result: CniResult;
  readonly error: ErrorResult | undefined;
}
export interface CniResult {
  readonly interfaces?: readonly { name: string; mac: string; mtu?: number; sandbox?: string }[];
  readonly ips?: readonly { address: string; gateway: string; interface?: number }[];
  readonly routes?: readonly { dst: string; gw?: string }[];
}

export interface CallOptions {
  readonly containerId?: string;
  readonly interface?: string;
  /** Path of the namespace; null leaves the variable out. */
  readonly netns?: string | null;
  readonly configuration?: object;
  /** Standard input instead of a configuration. */
  readonly stdin?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

/** A container: a namespace, and what its ADD was answered with. */
export class TestPod extends TestNamespace {
  readonly containerId: string;
  addresses: readonly string[] = [];
  hostLink = "";

  constructor() {
    super("p");
    this.containerId = this.name.replace(/^.*-/, "container-");
  }
}

const ROOT_PREFIX = "weft-agent-test-";

/** Removes root directories whose test process is gone. */
function removeStaleRoots(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = new RegExp(`^${ROOT_PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(tmpdir(), name), { recursive: true, force: true });
  }
}

export class TestNode {
  readonly root: string;
  readonly name: string;
  readonly options: AgentOptions;
  readonly node: TestNamespace;
  readonly outside: TestNamespace;
  /** File of faults for the agent. */
  readonly faultFile: string;
  readonly executable: string = executable();
  /** Of the agent that runs or ran last. */
  agent: Bun.Subprocess | undefined;
  /** How often the agent was started. */
  starts = 0;
  /** Processes of the test in the node's or its pods' namespaces; ended with the node. */
  readonly companions: Bun.Subprocess[] = [];
  readonly #pods = new Set<TestPod>();
  readonly #agentBy: TestNodeOptions["agentBy"];

  constructor(options: TestNodeOptions = {}) {
    removeStaleNamespaces();
    removeStaleRoots();
    this.#agentBy = options.agentBy;
    this.root = mkdtempSync(join(tmpdir(), `${ROOT_PREFIX}${process.pid}-`));
    this.name = options.name ?? NODE;
    this.options = agentOptions({ node: this.name, root: this.root });
    this.faultFile = join(this.root, "faults");
    this.node = new TestNamespace("n");
    this.outside = new TestNamespace("x");
    const { addresses = ADDRESSES, blocks = BLOCKS } = options;
    this.#makeUplink(options.uplinkAddresses ?? addresses.map((a) => `${a}/${a.includes(":") ? 64 : 24}`));
    mkdirSync(this.clusterDirectory, { recursive: true });
    this.writeNode(this.name, addresses, blocks);
    if (options.settings !== undefined) this.writeSettings(options.settings);
  }

  get clusterDirectory(): string {
    return `${this.options.root}/etc/weft/cluster`;
  }

  #makeUplink(addresses: readonly string[]): void {
    this.node.self.createVeth({
      name: "eth0",
      mac: parseMac("02:00:00:00:00:0b"),
      mtu: 1500,
      peer: { name: "up0", mac: parseMac("02:00:00:00:00:01"), mtu: 1500, namespace: this.outside.self },
    });
    // Duplicate address detection would end some time later, with events that are not the agent's.
    this.outside.self.setSysctl("net/ipv6/conf/up0/accept_dad", "0");
    this.node.self.setSysctl("net/ipv6/conf/eth0/accept_dad", "0");
    this.outside.self.changeLink("up0", { up: true });
    this.node.self.changeLink("eth0", { up: true });
    for (const a of OUTSIDE) this.outside.self.replaceAddress({ link: "up0", address: parseIpWithLength(a) });
    for (const a of addresses) this.node.self.replaceAddress({ link: "eth0", address: parseIpWithLength(a) });
    this.node.sh("ip route replace default via 172.30.0.1 dev eth0");
  }

  // Manifests and settings, each written whole.

  writeNode(name: string, addresses: readonly string[], podCIDRs: readonly string[]): void {
    this.#write(`${this.clusterDirectory}/${name}.yaml`, nodeManifest({ name, addresses, podCIDRs }));
  }

  /** Any manifest, in a file of its own. */
  writeManifest(name: string, text: string): void {
    this.#write(`${this.clusterDirectory}/${name}.yaml`, text);
  }

  removeManifest(name: string): void {
    unlinkSync(`${this.clusterDirectory}/${name}.yaml`);
  }

  removeNode(name: string): void {
    unlinkSync(`${this.clusterDirectory}/${name}.yaml`);
  }

  writeSettings(text: string): void {
    this.#write(this.options.settingsFile, text);
  }

  /** Lines for the agent to stumble over: "kill add:planned", "stall compile 500". */
  writeFaults(...lines: readonly string[]): void {
    this.#write(this.faultFile, `${lines.join("\n")}\n`);
  }

  /** Faults that nobody has met yet. */
  faultsLeft(): string[] {
    if (!existsSync(this.faultFile)) return [];
    return readFileSync(this.faultFile, "utf8")
      .split("\n")
      .filter((line) => line !== "");
  }

  #write(file: string, text: string): void {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  }

  // The agent's process.

  /** Starts the agent, and waits until it is ready unless told otherwise. */
  async start(until: "ready" | "listening" = "ready", flags: readonly string[] = []): Promise<void> {
    const log = openSync(join(this.root, "agent.log"), "a");
    // With this process it ends as well, however that ends.
    const program = this.#agentBy?.(this.executable) ?? ["setpriv", "--pdeathsig", "KILL", this.executable];
    const argv = [...program, "agent"];
    const began = Date.now();
    const child = spawnIn(this.node.self, [...argv, "--node", this.name, "--root", this.root, ...flags], {
      env: { PATH: process.env["PATH"] ?? "", WEFT_FAULT_FILE: this.faultFile },
      stdout: log,
      stderr: log,
    });
    closeSync(log);
    this.agent = child;
    this.starts++;
    await eventually(
      `the agent is ${until}`,
      async () => {
        if (child.exitCode !== null || child.signalCode !== null)
          throw new Error(`the agent ended: ${child.exitCode ?? child.signalCode}\n${this.log()}`);
        const status = await this.status().catch(() => undefined);
        // Who starts it by another program has that one's pid.
        const isNew =
          this.#agentBy === undefined ? status?.pid === child.pid : (status?.startedAt ?? 0) >= began;
        return status !== undefined && isNew && (until === "listening" || status.ready);
      },
      120_000,
      () => this.log(),
    );
  }

  /** Sends a signal and waits for the end. */
  async stop(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    this.agent?.kill(signal);
    await this.agent?.exited;
  }

  /** Waits until the agent has ended by itself, and starts it. */
  async restartAfterFault(): Promise<void> {
    await this.agent?.exited;
    await this.start();
  }

  log(lines = 30): string {
    return readFileSync(join(this.root, "agent.log"), "utf8").split("\n").slice(-lines).join("\n");
  }

  // The agent's socket.

  /** Status code and body of any request. */
  async request(
    method: string,
    path: string,
    body?: string,
    signal?: AbortSignal,
  ): Promise<{ status: number; text: string }> {
    const response = await fetch(`http://weft${path}`, {
      unix: this.options.socket,
      method,
      ...(body === undefined ? {} : { body }),
      ...(signal === undefined ? {} : { signal }),
    });
    return { status: response.status, text: await response.text() };
  }

  async get<T>(path: string): Promise<T> {
    const { status, text } = await this.request("GET", path);
    if (status !== 200) throw new Error(`${path}: ${status} ${text}`);
    return JSON.parse(text) as T;
  }

  status(): Promise<AgentStatus> {
    return this.get<AgentStatus>("/v1/status");
  }

  drift(): Promise<Drift[]> {
    return this.get<Drift[]>("/v1/drift");
  }

  async pause(milliseconds: number): Promise<void> {
    const { status, text } = await this.request("POST", "/v1/pause", JSON.stringify({ milliseconds }));
    if (status !== 200) throw new Error(text);
  }

  /** Waits until nothing differs from the plan and no row is pending or failed. */
  async settled(limit = 60_000): Promise<void> {
    let drift: readonly unknown[] = [];
    await eventually(
      "kernel and plan are alike",
      async () => {
        drift = await this.drift();
        const { plan } = await this.status();
        return drift.length === 0 && plan.every((t) => t.pending === 0 && t.errors === 0);
      },
      limit,
      () => `${JSON.stringify(drift)}\n${this.log()}`,
    );
  }

  // Containers, by the plugin's executable.

  pod(): TestPod {
    const pod = new TestPod();
    this.#pods.add(pod);
    return pod;
  }

  removePod(pod: TestPod): void {
    this.#pods.delete(pod);
    pod.remove();
  }

  /** Starts programs in the node's namespace, where its container runtime runs. */
  readonly spawn: Spawn = (argv, options) => inNetns(this.node.self.fd, () => spawnProcess(argv, options));

  configuration(more: object = {}): object {
    const { socket, queue } = this.options;
    return { cniVersion: "1.1.0", name: "weft", type: "weft", socket, queue, ...more };
  }

  environment(command: string, pod: TestPod | undefined, options: CallOptions = {}): Record<string, string> {
    const netns = options.netns === undefined ? pod?.path : options.netns;
    return {
      PATH: process.env["PATH"] ?? "",
      CNI_COMMAND: command,
      CNI_CONTAINERID: options.containerId ?? pod?.containerId ?? "container-x",
      CNI_IFNAME: options.interface ?? "eth0",
      CNI_PATH: "/opt/cni/bin",
      ...(typeof netns === "string" ? { CNI_NETNS: netns } : {}),
      ...options.environment,
    };
  }

  /** Runs the plugin's executable, as a runtime does. */
  async call(command: string, pod: TestPod | undefined, options: CallOptions = {}): Promise<Answer> {
    const stdin = options.stdin ?? JSON.stringify(this.configuration(options.configuration));
    const environment = this.environment(command, pod, options);
    const child = this.spawn([this.executable], { environment, stdin: Buffer.from(stdin) });
    const { code } = await child.exited;
    await Promise.all([child.stdout.ended, child.stderr.ended]);
    const text = child.stdout.text();
    const printed: unknown = text === "" ? {} : JSON.parse(text);
    return {
      exit: code,
      result: printed as CniResult,
      error: code === 0 ? undefined : (printed as ErrorResult),
    };
  }

  /** ADD that must succeed. */
  async add(pod = this.pod(), options: CallOptions = {}): Promise<TestPod> {
    const { exit, result, error } = await this.call("ADD", pod, options);
    if (exit !== 0) throw new Error(`ADD: ${JSON.stringify(error)}\n${this.log()}`);
    pod.addresses = (result.ips ?? []).map((ip) => ip.address.split("/")[0] as string);
    pod.hostLink = result.interfaces?.find((i) => i.sandbox === undefined)?.name ?? "";
    return pod;
  }

  /** DEL that must succeed. */
  async del(pod: TestPod, options: CallOptions = {}): Promise<void> {
    const { exit, error } = await this.call("DEL", pod, options);
    if (exit !== 0) throw new Error(`DEL: ${JSON.stringify(error)}\n${this.log()}`);
  }

  /** Files of deletions that wait. */
  queue(): string[] {
    return existsSync(this.options.queue) ? readdirSync(this.options.queue) : [];
  }

  async close(): Promise<void> {
    await this.stop("SIGKILL");
    for (const child of this.companions) child.kill("SIGKILL");
    for (const pod of this.#pods) pod.remove();
    this.node.remove();
    this.outside.remove();
    rmSync(this.root, { recursive: true, force: true });
  }
}
