/**
 * A real Kubernetes cluster on this machine: a control plane and nodes, each machine a set of namespaces.
 *
 *   const cluster = await startCluster({ name: "a", nodes: [{ rack: 1 }, { rack: 1 }], families: "dual", network, programs });
 *   await cluster.kubectl(["get", "nodes"]);
 *   await cluster.stop();
 */
import { join } from "node:path";
import { WeftError } from "@weft/base";
import type { Programs } from "./build/programs.ts";
import { KUBECTL, startControlPlane } from "./cluster/control-plane.ts";
import { readdressNode, startNode } from "./cluster/node.ts";
import { Authority, kubeconfig } from "./cluster/pki.ts";
import { addressesOf, type Families, type Ranges, rangesOf } from "./cluster/ranges.ts";
import { attempt, type CommandOptions, type Outcome, until } from "./command.ts";
import { removeCluster } from "./machines/leftovers.ts";
import { Machine } from "./machines/machine.ts";
import { Underlay } from "./machines/underlay.ts";
import type { Network } from "./networks/network.ts";
import { MACHINES } from "./paths.ts";

export interface ClusterOptions {
  /** Up to six letters and digits; part of the names of namespaces and cgroups. */
  readonly name: string;
  readonly families: Families;
  /** One entry a node: the rack it stands in, 1 or 2. */
  readonly racks: readonly number[];
  readonly network: Network;
  readonly programs: Programs;
  /** False: nodes run no kube-proxy, because the network serves services itself. Default true. */
  readonly kubeProxy?: boolean;
}

export interface Node {
  readonly name: string;
  readonly rack: number;
  readonly machine: Machine;
  /** Of the underlay, one a family. */
  readonly addresses: readonly string[];
  /** One a family. */
  readonly podCIDRs: readonly string[];
}

const CONTROL_NUMBER = 10;

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  await removeCluster(options.name);
  const cluster = new Cluster(options);
  try {
    await cluster.start();
  } catch (error) {
    cluster.keepLogs = true;
    await cluster.stop();
    throw error;
  }
  return cluster;
}

export class Cluster {
  readonly name: string;
  readonly ranges: Ranges;
  readonly network: Network;
  readonly programs: Programs;
  readonly underlay: Underlay;
  readonly nodes: Node[] = [];
  /** Leaves the machines' logs in place at the end. */
  keepLogs = false;
  private readonly options: ClusterOptions;
  private control: Machine | undefined;
  private authority: Authority | undefined;
  private server = "";

  constructor(options: ClusterOptions) {
    this.options = options;
    this.name = options.name;
    this.ranges = rangesOf(options.families);
    this.network = options.network;
    this.programs = options.programs;
    this.underlay = new Underlay(options.name);
  }

  async start(): Promise<void> {
    await this.underlay.make();
    const directory = join(MACHINES, this.name, "pki");
    this.authority = await Authority.make(directory);
    const addresses = addressesOf(this.ranges, 1, CONTROL_NUMBER);
    this.control = await this.boot("control", 1, CONTROL_NUMBER);
    this.server = await startControlPlane({
      machine: this.control,
      addresses,
      authority: this.authority,
      ranges: this.ranges,
    });
    await Promise.all(this.options.racks.map((rack) => this.addNode(rack)));
    await this.untilReady();
    await until("service account of the namespace default", 20, async () => {
      const { code } = await this.attempt(["get", "serviceaccount", "default"]);
      return code === 0 ? true : undefined;
    });
  }

  /** Makes a node that has its pod ranges, without the network. */
  async addBareNode(rack: number): Promise<Node> {
    const number = ++this.numbers;
    const name = `node${number}`;
    const addresses = addressesOf(this.ranges, rack, CONTROL_NUMBER + number);
    const machine = await this.boot(name, rack, CONTROL_NUMBER + number);
    const { server, ranges, options } = this;
    const authority = this.authority as Authority;
    const { programs, kubeProxy = true } = options;
    await startNode({ machine, addresses, server, authority, ranges, programs, kubeProxy });
    const podCIDRs = await until(`${name} has pod ranges`, 30, async () => {
      const said = await this.kubectl(["get", "node", name, "-o", "jsonpath={.spec.podCIDRs[*]}"]);
      return said === "" ? undefined : said.split(" ");
    });
    const node: Node = { name, rack, machine, addresses, podCIDRs };
    this.nodes.push(node);
    this.nodes.sort((a, b) => (a.name < b.name ? -1 : 1));
    return node;
  }
  private numbers = 0;

  /** Makes a node and puts the network on it; it need not be ready yet. */
  async addNode(rack: number): Promise<Node> {
    const node = await this.addBareNode(rack);
    await this.network.install(this, node);
    return node;
  }

  /** Pulls a node's plug and lets it boot again: its disk and its addresses stay, all else is new. */
  async reboot({ machine }: Node): Promise<void> {
    await machine.powerOff();
    await machine.powerOn();
    for (const service of machine.services.values()) service.start();
  }

  /** A node's machine is gone for good, and an administrator takes the node out of the cluster. */
  async removeNode(node: Node): Promise<void> {
    await node.machine.powerOff();
    this.nodes.splice(this.nodes.indexOf(this.node(node.name)), 1);
    await this.kubectl(["delete", "node", node.name]);
  }

  /** Gives a node other addresses while it runs; `to` is its machine's number from then on. */
  async renumberNode({ name, rack, machine }: Node, from: number, to: number): Promise<Node> {
    await this.underlay.renumberMachine(name, rack, from, to);
    const addresses = addressesOf(this.ranges, rack, to);
    await readdressNode({ machine, addresses, authority: this.authority as Authority });
    const node = { ...this.node(name), addresses };
    this.nodes[this.nodes.indexOf(this.node(name))] = node;
    return node;
  }

  /** The number of a node's machine, as it was made. */
  numberOf({ name }: Node): number {
    return CONTROL_NUMBER + Number(name.slice("node".length));
  }

  /** The machine of etcd and the API server. */
  get controlPlane(): Machine {
    if (this.control === undefined) throw new WeftError("not-found", "the control plane is not there");
    return this.control;
  }

  node(name: string): Node {
    const node = this.nodes.find((n) => n.name === name);
    if (node === undefined) throw new WeftError("not-found", `there is no node ${name}`);
    return node;
  }

  /** As the administrator, on the control plane's machine. Throws "internal" with kubectl's words. */
  kubectl(words: readonly string[], options?: CommandOptions): Promise<string> {
    return this.controlPlane.exec([...KUBECTL, ...words], options);
  }

  attempt(words: readonly string[], options?: CommandOptions): Promise<Outcome> {
    return this.controlPlane.attempt([...KUBECTL, ...words], options);
  }

  /** The same as a command of this host, for what goes on for a while. */
  kubectlCommand(words: readonly string[]): string[] {
    return this.controlPlane.command([...KUBECTL, ...words]);
  }

  /** Credentials of a user, as a kubeconfig. `name` begins the names of the certificate's files. */
  async kubeconfig(name: string, user: string): Promise<object> {
    const authority = this.authority as Authority;
    return kubeconfig(this.server, authority, await authority.issue({ name, commonName: user }));
  }

  /** An object, or a list of them, as the API serves it. */
  async get<T>(...words: readonly string[]): Promise<T> {
    return JSON.parse(await this.kubectl(["get", ...words, "-o", "json"])) as T;
  }

  /** Creates or changes objects. */
  async apply(...objects: readonly object[]): Promise<void> {
    const list = { apiVersion: "v1", kind: "List", items: objects };
    await this.kubectl(["apply", "-f", "-"], { input: JSON.stringify(list) });
  }

  async untilReady(seconds = 120): Promise<void> {
    const wait = ["wait", "--for=condition=Ready", "nodes", "--all", `--timeout=${seconds}s`];
    await this.kubectl(wait, { timeout: (seconds + 10) * 1000 });
  }

  /** A command on the host outside of the cluster. */
  outside(command: readonly string[], options?: CommandOptions): Promise<Outcome> {
    return attempt(
      ["nsenter", `--net=/run/netns/${this.underlay.namespace("outside")}`, ...command],
      options,
    );
  }

  /** Removes all of it. */
  async stop(): Promise<void> {
    for (const { machine } of this.nodes) machine.abandon();
    this.control?.abandon();
    await removeCluster(this.name, this.keepLogs);
  }

  private async boot(name: string, rack: number, number: number): Promise<Machine> {
    const { underlay } = this;
    const machine = new Machine({
      cluster: this.name,
      name,
      rack,
      number,
      underlay,
      programs: this.options.programs,
    });
    await machine.powerOn();
    return machine;
  }
}
