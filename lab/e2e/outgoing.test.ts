/** What leaves the cluster: under which address the world outside sees a pod, and that nothing leaves with a bare one. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { barePackets } from "../build.ts";
import { settingsText } from "../files.ts";
import { labPaths } from "../state.ts";
import type { PodStatus } from "../status.ts";
import { Lab } from "./harness/lab.ts";
import { start, until, useWeft, WEFT } from "./harness/weft.ts";

useWeft();
const SOURCE = join(import.meta.dir, "harness/source.ts");
const PORT = 5998;
const lab = new Lab();
let pods: readonly PodStatus[];
const ends: (() => Promise<unknown>)[] = [];

const inside = (target: string, ...words: string[]): string[] => [
  ...[WEFT, "lab", "exec", "--name", lab.name, target, "--", process.execPath, SOURCE, ...words],
];

async function serve(target: string): Promise<void> {
  const server = start(inside(target, "serve", String(PORT)), 180_000);
  const { value } = await server.stdout.getReader().read();
  expect(Buffer.from(value ?? []).toString()).toBe("listening\n");
  ends.push(() => {
    server.kill();
    return server.exited;
  });
}

/** Under which address `target` sees what the pod sends to it, or why it does not. */
async function seenBy(address: string, pod: PodStatus, protocol = "tcp"): Promise<string> {
  const asked = start(inside(`${pod.namespace}/${pod.name}`, "ask", protocol, address, String(PORT)));
  return (await new Response(asked.stdout).text()).trim();
}

const bare = (): number => barePackets(lab.name).ipv4 + barePackets(lab.name).ipv6;
const addressesOf = (pod: PodStatus): readonly string[] =>
  lab.topology.nodes.find((n) => n.name === pod.node)?.addresses ?? [];
const podOn = (node: string): PodStatus => pods.find((p) => p.node === node) as PodStatus;

/** Writes settings, and waits until every agent has applied a plan that has this many translated ranges. */
async function settings(masquerade: object, sources: number): Promise<void> {
  writeFileSync(
    labPaths(lab.name).settings,
    `${settingsText(lab.topology)}masquerade: ${JSON.stringify(masquerade)}\n`,
  );
  await until("the settings are taken over", 60_000, async () => {
    const agents = await lab.agents();
    const told = agents.every((a) =>
      JSON.stringify(a.settings).includes(JSON.stringify(masquerade).slice(1, -1)),
    );
    const kinds = agents.flatMap((a) => a.plan.filter((k) => k.kind.startsWith("masquerade-")));
    const rows = kinds.filter((k) => k.kind === "masquerade-source").reduce((n, k) => n + k.rows, 0);
    return told && kinds.every((k) => k.done === k.rows) && rows === sources;
  });
}

beforeAll(async () => {
  await lab.upOk();
  pods = await Promise.all(["node1", "node2", "node3"].map((node) => lab.podOn(node)));
  await serve("outside");
}, 180_000);
afterAll(() => Promise.all(ends.map((end) => end())));

test("the world outside sees the node, in both families and protocols", async () => {
  for (const pod of pods)
    for (const [i, outside] of lab.topology.outside.entries())
      for (const protocol of ["tcp", "udp"])
        expect([pod.node, protocol, await seenBy(outside, pod, protocol)]).toEqual([
          pod.node,
          protocol,
          addressesOf(pod)[i] as string,
        ]);
  for (const outside of lab.topology.outside) await lab.sh(podOn("node1").name, `ping -c 1 -W 20 ${outside}`);
  expect(bare()).toBe(0);
}, 120_000);

test("pods and nodes see the pod itself, near and far", async () => {
  const [from, far] = [podOn("node1"), podOn("node3")];
  await serve("node2");
  await serve("node3");
  await serve(`${far.namespace}/${far.name}`);
  for (const i of [0, 1]) {
    for (const to of [addressesOf(podOn("node2"))[i], addressesOf(far)[i], far.podIPs[i]])
      expect([to, await seenBy(to as string, from)]).toEqual([to, from.podIPs[i] as string]);
  }
  const { code, report } = await lab.check();
  expect(code).toBe(0);
  expect(report.drift).toEqual([]);
  expect(report.barePackets?.map((c) => c.packets)).toEqual([0, 0]);
}, 120_000);

test("what connection tracking cannot place does not leave", async () => {
  const pod = podOn("node1");
  const [outside] = lab.topology.outside;
  const leaks = async (): Promise<number> =>
    Number(/packets (\d+)/.exec(await lab.sh("node1", "nft list counter inet weft-masquerade leaks"))?.[1]);
  const attempt = (): Promise<unknown> => lab.exec(pod.name, `timeout 1 bash -c '</dev/tcp/${outside}/9'`);
  // The table of services drops such packets on their way through the node, before this one sees them.
  const before = readFileSync(labPaths(lab.name).settings, "utf8");
  writeFileSync(labPaths(lab.name).settings, `${before}services: { enabled: false }\n`);
  await until(
    "services are off",
    60_000,
    async () => !(await lab.sh("node1", "nft list tables")).includes("weft-services"),
  );
  // The pod's own table turns the first packet of a connection into one that is none: SYN and RST at once.
  await lab.sh(
    pod.name,
    "nft 'add table ip odd; add chain ip odd out { type filter hook output priority 0; }; add rule ip odd out tcp dport 9 tcp flags set 0x06'",
  );
  await until("it is counted", 60_000, async () => {
    await attempt();
    return (await leaks()) > 0;
  });
  expect(bare()).toBe(0);
  // It is the chain that keeps it: without it the packet gets as far as the spine.
  await lab.pause("10m");
  await lab.sh("node1", "nft flush chain inet weft-masquerade untranslated");
  await until("it gets to the spine", 60_000, async () => {
    await attempt();
    return bare() > 0;
  });
  await lab.pause("0");
  await lab.sh(pod.name, "nft delete table ip odd");
  writeFileSync(labPaths(lab.name).settings, before);
}, 120_000);

test("the table comes back when it is deleted or emptied", async () => {
  const pod = podOn("node3");
  for (const damage of [
    "delete table inet weft-masquerade",
    "flush chain inet weft-masquerade postrouting",
  ]) {
    await lab.sh("node3", `nft ${damage}`);
    await until(`after ${damage}`, 60_000, async () => {
      const seen = await seenBy(lab.topology.outside[0] as string, pod);
      return seen === addressesOf(pod)[0];
    });
  }
  expect((await lab.check()).code).toBe(0);
}, 120_000);

describe("in a fabric that knows the pods of node1", () => {
  beforeAll(async () => {
    await lab.sh("spine", "nft flush chain inet weft_spine bare");
    const node = lab.topology.nodes[0];
    for (const i of [0, 1])
      await lab.sh("spine", `ip route add ${node?.podCIDRs[i]} via ${node?.addresses[i]}`);
  });
  const seen = async (node: string): Promise<string[]> =>
    Promise.all(lab.topology.outside.map((outside) => seenBy(outside, podOn(node))));

  test("an excluded destination sees the pod itself", async () => {
    await settings({ exclude: ["203.0.113.0/24", "fd57:eff7:ffff::/48"] }, 6);
    expect(await seen("node1")).toEqual([...podOn("node1").podIPs]);
    await settings({ exclude: ["203.0.113.128/25"] }, 6);
    expect(await seen("node1")).toEqual([...addressesOf(podOn("node1"))]);
  }, 120_000);

  test("a range can be exempted", async () => {
    const ranges = lab.topology.nodes[0]?.podCIDRs.map((range) => ({ range, enabled: false }));
    await settings({ ranges }, 4);
    expect(await seen("node1")).toEqual([...podOn("node1").podIPs]);
    expect(await seen("node3")).toEqual([...addressesOf(podOn("node3"))]);
  }, 120_000);

  test("turned off, new connections are not translated and old ones go on; turned on again, new ones are", async () => {
    await settings({ enabled: true }, 6);
    const pod = podOn("node1");
    const [outside] = lab.topology.outside;
    const held = start(
      inside(`${pod.namespace}/${pod.name}`, "hold", outside as string, String(PORT), "15000"),
    );
    const said = held.stdout.getReader();
    let text = "";
    const hear = async (): Promise<boolean> => {
      const { value, done } = await said.read();
      text += Buffer.from(value ?? []).toString();
      return !done;
    };
    // Its connection is there, and older than the change.
    while (!text.includes("\n") && (await hear()));
    await settings({ enabled: false }, 0);
    expect(await seen("node1")).toEqual([...pod.podIPs]);
    await settings({ enabled: true }, 6);
    expect(await seen("node1")).toEqual([...addressesOf(pod)]);
    while (await hear());
    expect(text.trim()).toBe(addressesOf(pod)[0] as string);
  }, 120_000);
});

test("another address of a node is followed", async () => {
  const pod = podOn("node3");
  const [from, to] = [addressesOf(pod)[0] as string, "198.18.2.99"];
  await lab.sh(
    "node3",
    `ip addr del ${from}/24 dev eth0 && ip addr add ${to}/24 dev eth0 && ip route replace default via 198.18.2.1`,
  );
  await until("the world sees the new address", 60_000, async () => {
    return (await seenBy(lab.topology.outside[0] as string, pod)) === to;
  });
  await until("node1 translates nothing to it", 60_000, async () => {
    const rows = await lab.agents();
    const inside1 = rows.find((a) => a.node === "node1")?.plan.find((k) => k.kind === "masquerade-inside");
    return inside1?.items.some((i) => i.key === `${to}/32` && i.state === "done") === true;
  });
}, 120_000);
