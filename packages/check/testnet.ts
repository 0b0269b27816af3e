/**
 * The network that the tests of this room check: nodes joined by one Ethernet, plain routed, with pods behind
 * /32 and /128 routes, made of named namespaces by ip(8). Nothing of it is outside of its own namespaces.
 *
 *     pod a, pod b --- node1 --- bridge in "fabric" --- node2 --- pod c, pod d
 */
import { writeFileSync } from "node:fs";
import { parseIp } from "@weft/base";
import { deleteNamed, inNetns, listNamed, namedPath, openNetns } from "@weft/kernel/netns";
import type { CheckInput, CheckNode, CheckOptions, CheckPod } from "./types.ts";

const PREFIX = "weft-t-check-";
export const POD_MTU = 1400;

export interface TestNetwork {
  readonly input: CheckInput;
  /** Name of the namespace of "node1" or "a". */
  namespaceOf(short: string): string;
  /** Lines of ip -batch in the namespace of "node1" or "a". */
  ip(short: string, ...lines: string[]): void;
  nft(short: string, script: string): void;
  remove(): void;
}

export interface TestNetworkOptions {
  readonly nodes?: number;
  readonly podsPerNode?: number;
}

const mac = (kind: number, node: number, pod: number): string =>
  ["02", kind, node >> 8, node & 255, pod >> 8, pod & 255]
    .map((x) => (typeof x === "string" ? x : x.toString(16).padStart(2, "0")))
    .join(":");

/** Removes what an earlier run of these tests left. */
export function removeStale(): void {
  for (const name of listNamed(PREFIX)) {
    const pid = Number(name.slice(PREFIX.length).split("-")[0]);
    if (pid === process.pid || !isRunning(pid)) deleteNamed(name);
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

let serial = 0;

/** Node n is "node<n>" with 10.0.0.n and fd00::n; its pods are "a", "b", ... counted on from node to node. */
export function createTestNetwork({ nodes = 2, podsPerNode = 2 }: TestNetworkOptions = {}): TestNetwork {
  const base = `${PREFIX}${process.pid}-${++serial}-`;
  const namespaceOf = (short: string): string => `${base}${short}`;
  const made: string[] = [];
  const ip = (short: string, ...lines: string[]): void =>
    run(["ip", "-n", namespaceOf(short), "-batch", "-"], lines);
  const create = (...shorts: string[]): void => {
    made.push(...shorts);
    run(
      ["ip", "-batch", "-"],
      shorts.map((short) => `netns add ${namespaceOf(short)}`),
    );
  };
  const remove = (): void => {
    for (const short of made.splice(0)) deleteNamed(namespaceOf(short));
  };

  const checkNodes: CheckNode[] = [];
  const checkPods: CheckPod[] = [];
  const everyNode = Array.from({ length: nodes }, (_, i) => i + 1);
  try {
    create("fabric", ...everyNode.map((n) => `node${n}`));
    ip("fabric", "link add br0 mtu 1500 type bridge", "link set br0 up");
    for (const n of everyNode) {
      const node = `node${n}`;
      forward(namespaceOf(node));
      ip(
        "fabric",
        `link add p${n} type veth peer name eth0 address ${mac(1, n, 0)} netns ${namespaceOf(node)}`,
      );
      ip("fabric", `link set p${n} master br0 up`);
      const lines = [
        "link set lo up",
        "link set eth0 arp off up",
        `address add 10.0.0.${n}/24 dev eth0`,
        `address add fd00::${n}/64 dev eth0 nodad`,
      ];
      // No neighbour discovery on the fabric, so that a missing entry is missed.
      for (const m of everyNode.filter((other) => other !== n)) {
        lines.push(
          `neighbour add 10.0.0.${m} dev eth0 lladdr ${mac(1, m, 0)} nud permanent`,
          `neighbour add fd00::${m} dev eth0 lladdr ${mac(1, m, 0)} nud permanent`,
          `route add 10.244.${m}.0/24 via 10.0.0.${m}`,
          `route add fd00:244:${m}::/64 via fd00::${m}`,
        );
      }
      ip(node, ...lines);
      checkNodes.push({
        name: node,
        namespacePath: namedPath(namespaceOf(node)),
        addresses: [parseIp(`10.0.0.${n}`), parseIp(`fd00::${n}`)],
      });

      const shorts = Array.from({ length: podsPerNode }, (_, i) => podName((n - 1) * podsPerNode + i));
      create(...shorts);
      const hostLines: string[] = [];
      shorts.forEach((pod, i) => {
        const ip4 = `10.244.${n}.${i + 2}`;
        const ip6 = `fd00:244:${n}::${(i + 2).toString(16)}`;
        const inside = mac(2, n, i);
        const outside = mac(3, n, i);
        hostLines.push(
          `link add h${i} address ${outside} mtu ${POD_MTU} type veth peer name eth0 address ${inside} mtu ${POD_MTU} netns ${namespaceOf(pod)}`,
          `link set h${i} up`,
          `route add ${ip4} dev h${i}`,
          `route add ${ip6} dev h${i}`,
          `neighbour add ${ip4} dev h${i} lladdr ${inside} nud permanent`,
          `neighbour add ${ip6} dev h${i} lladdr ${inside} nud permanent`,
        );
        checkPods.push({
          namespace: "default",
          name: pod,
          node,
          hostNetwork: false,
          namespacePath: namedPath(namespaceOf(pod)),
          interface: "eth0",
          addresses: [parseIp(ip4), parseIp(ip6)],
          mtu: POD_MTU,
        });
      });
      ip(node, ...hostLines);
      shorts.forEach((pod, i) => {
        ip(
          pod,
          "link set lo up",
          "link set eth0 up",
          `address add 10.244.${n}.${i + 2}/32 dev eth0`,
          `address add fd00:244:${n}::${(i + 2).toString(16)}/128 dev eth0 nodad`,
          "route add 169.254.1.1 dev eth0",
          `neighbour add 169.254.1.1 dev eth0 lladdr ${mac(3, n, i)} nud permanent`,
          `neighbour add fe80::1 dev eth0 lladdr ${mac(3, n, i)} nud permanent`,
          "route add default via 169.254.1.1",
          "route add default via fe80::1 dev eth0",
        );
      });
    }
  } catch (error) {
    remove();
    throw error;
  }
  return {
    input: { nodes: checkNodes, pods: checkPods },
    namespaceOf,
    ip,
    nft: (short, script) => run(["ip", "netns", "exec", namespaceOf(short), "nft", "-f", "-"], [script]),
    remove,
  };
}

/** a, b, ... z, then p26, p27, ... */
const podName = (index: number): string =>
  index < 26 ? String.fromCharCode("a".charCodeAt(0) + index) : `p${index}`;

function forward(namespace: string): void {
  const handle = openNetns(namedPath(namespace));
  try {
    inNetns(handle.fd, () => {
      writeFileSync("/proc/sys/net/ipv4/ip_forward", "1");
      writeFileSync("/proc/sys/net/ipv6/conf/all/forwarding", "1");
      for (const of of ["all", "default"]) writeFileSync(`/proc/sys/net/ipv4/conf/${of}/rp_filter`, "0");
    });
  } finally {
    handle.close();
  }
}

function run(argv: string[], lines: readonly string[]): void {
  const child = Bun.spawnSync(argv, {
    stdin: Buffer.from(`${lines.join("\n")}\n`),
    stdout: "pipe",
    stderr: "pipe",
  });
  if (child.exitCode !== 0) throw new Error(`${argv.join(" ")}: ${child.stderr}\n${lines.join("\n")}`);
}

/** Long enough for a loaded machine, and short enough for a test of what never answers. */
export const FAST: CheckOptions = { timeoutMs: 1000 };

/** Runs the work on two nodes with two pods each, and removes them whatever happens. */
export async function withNetwork(work: (network: TestNetwork) => Promise<void>): Promise<void> {
  const network = createTestNetwork();
  try {
    await work(network);
  } finally {
    network.remove();
  }
}
