/**
 * Ports of a node that lead to pods, by the plugin itself: what upstream's conformance spec "HostPort" asks for, from more
 * places, and a port that goes from one pod to its successor.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { urlHost } from "../cluster/ranges.ts";
import type { Cluster, Node } from "../cluster.ts";
import { until } from "../command.ts";
import { OUTSIDE } from "../machines/underlay.ts";
import { PROGRAMS } from "../paths.ts";
import { addressesOfPod, deletePods, HTTP, inPod, pod, readyPods, runPods, UDP } from "./pods.ts";
import type { Case } from "./suite.ts";

const SHARED = 54323;
const ANY = 54324;

/** `port` of the node leads to where netexec serves. */
const publishing = (name: string, node: Node, port: object): object =>
  pod(name, node.name, {}, { ports: [{ containerPort: HTTP, ...port }] });

/** What is answered to `netexec get`, from outside of the cluster. */
async function fromOutside(cluster: Cluster, ...words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster.outside([join(PROGRAMS, "netexec"), ...words]);
  assert.equal(code, 0, `netexec ${words.join(" ")}: ${stderr}`);
  return stdout;
}

export const hostPorts: Case = {
  name: "host ports: one port by three pods at other addresses and of another protocol, and one at all addresses",
  async run(cluster) {
    const [node, other] = cluster.nodes;
    assert(node !== undefined && other !== undefined);
    const [hostIP = ""] = node.addresses;
    const loopback = hostIP.includes(":") ? "::1" : "127.0.0.1";
    const udp = { containerPort: UDP, hostPort: SHARED, hostIP, protocol: "UDP" };
    const names = ["hp-loopback", "hp-tcp", "hp-udp", "hp-any", "hp-near", "hp-far"];
    const [, , , any, near, far] = await runPods(
      cluster,
      publishing("hp-loopback", node, { hostPort: SHARED, hostIP: loopback }),
      publishing("hp-tcp", node, { hostPort: SHARED, hostIP }),
      publishing("hp-udp", node, udp),
      publishing("hp-any", node, { hostPort: ANY }),
      pod("hp-near", node.name),
      pod("hp-far", other.name),
    );
    assert(any !== undefined && near !== undefined && far !== undefined);
    const url = (address: string, port: number, word: string): string =>
      `http://${urlHost(address)}:${port}/${word}`;

    const local = url(loopback, SHARED, "hostname");
    const curl = await node.machine.exec(["curl", "-gsS", "--max-time", "3", "--interface", hostIP, local]);
    assert.equal(curl, "hp-loopback");
    assert.equal(await fromOutside(cluster, "get", url(hostIP, SHARED, "hostname")), "hp-tcp");
    assert.equal(await fromOutside(cluster, "udp", `${urlHost(hostIP)}:${SHARED}`, "hostname"), "hp-udp");
    for (const asker of [near, far]) {
      const script = `netexec get ${url(hostIP, SHARED, "hostname")}; echo
        netexec udp ${urlHost(hostIP)}:${SHARED} hostname`;
      assert.equal(await inPod(cluster, asker.metadata.name, script), "hp-tcp\nhp-udp", asker.metadata.name);
    }

    for (const [i, address] of node.addresses.entries()) {
      const seenBy = async (asker: string): Promise<string> =>
        await inPod(cluster, asker, `netexec get ${url(address, ANY, "clientip")}`);
      const outside = await fromOutside(cluster, "get", url(address, ANY, "clientip"));
      assert.equal(outside, OUTSIDE[address.includes(":") ? "ipv6" : "ipv4"], "the client's own address");
      assert.equal(await seenBy("hp-near"), addressesOfPod(near)[i]);
      assert.equal(await seenBy("hp-far"), addressesOfPod(far)[i]);
      assert.equal(await seenBy("hp-any"), address, "a pod that reaches itself");
    }
    await deletePods(cluster, ...names);
    const left = await node.machine.exec(["nft", "list", "table", "inet", "weft-hostports"]);
    assert(!left.includes("elements"), left);
  },
};

export const hostPortMoves: Case = {
  name: "host ports: a pod gets the port of the one in whose place it comes, also after a deletion by force",
  async run(cluster) {
    const [node] = cluster.nodes;
    assert(node !== undefined);
    const [address = ""] = node.addresses;
    const one = publishing("hp-one", node, { hostPort: ANY });
    let [now] = await runPods(cluster, one);
    for (const force of [["--wait"], ["--force", "--grace-period=0"]]) {
      await cluster.kubectl(["delete", "pod", "hp-one", ...force], { timeout: 70_000 });
      await cluster.apply(one);
      const former = now?.metadata.uid;
      [now] = await readyPods(cluster, ["hp-one"], 120);
      assert.notEqual(now?.metadata.uid, former);
      await until("the new pod answers", 20, async () =>
        (await fromOutside(cluster, "get", `http://${urlHost(address)}:${ANY}/hostname`)) === "hp-one"
          ? true
          : undefined,
      );
    }
    await deletePods(cluster, "hp-one");
  },
};
