/**
 * Proof that the check checks: the network is damaged in one place, and the check must name exactly the pairs that
 * the damage cuts off, and the row of the plan that is not there with the object that had asked for it. Then the
 * agents are let loose, and all must be well again.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { AgentStatus, RouteRow, Workload } from "@weft/model";
import { Lab } from "./harness/lab.ts";
import { expectedFailures, type Loss, lossesOf } from "./harness/paths.ts";
import { driftText, failureTexts, type Report } from "./harness/report.ts";
import { measured, until, useWeft } from "./harness/weft.ts";

useWeft();
const lab = new Lab();
/** Less than the agents' look at everything takes to come round: what is put right by then was heard of. */
const REPAIRED_MS = 20_000;
const BOTH = [4, 6];
const EXCHANGE = ["tcp", "udp"];

let agents: readonly AgentStatus[] = [];
let lost: ReturnType<typeof lossesOf>;
/** A pod of node1 whose link is damaged. */
let victim: Workload;
let slowest = 0;

beforeAll(async () => {
  await lab.upOk();
  agents = await lab.agents();
  lost = lossesOf(lab.topology);
  victim = agents.find((a) => a.node === "node1")!.workloads[0]!;
}, 240_000);
afterAll(() => measured("slowest repair after the end of a pause", slowest));

interface Damage {
  readonly what: string;
  /** Where, and the line of bash that does it. */
  readonly damage: () => readonly [target: string, line: string];
  readonly losses?: () => readonly Loss[];
  readonly families?: readonly number[];
  readonly probes?: readonly string[];
  /** Lines of `driftText`, sorted, or what matches them. */
  readonly drift: () => readonly unknown[];
  /** The damage is somebody else's right: it has to be taken away by who made it. */
  readonly undo?: string;
  readonly also?: (report: Report) => void | Promise<void>;
}

const node3 = (): AgentStatus => agents.find((a) => a.node === "node3")!;
const vtep = (): string => {
  const tunnel = node3().plan.find((t) => t.kind === "tunnel")?.items[0]?.row as { mac: string };
  return tunnel.mac;
};
const metric = (): number => {
  const rows =
    node3()
      .plan.find((t) => t.kind === "route")
      ?.items.map((i) => i.row as RouteRow) ?? [];
  return rows.find((r) => r.type === "unicast")!.metric;
};
const pod = (): string => `${victim.podNamespace}/${victim.podName}`;
const ip4 = (): string => victim.addresses.find((a) => !a.includes(":"))!;
const byPod = (): string => `(Pod ${victim.podName})`;
const FOREIGN = "inet e2e_foreign";

const DAMAGES: readonly Damage[] = [
  {
    what: "a block's route is removed",
    damage: () => ["node1", "ip route del 10.244.3.0/24 dev weft-vxlan"],
    losses: () => [lost.blockRoute("node1", "node3")],
    families: [4],
    drift: () => ["node1 route 10.244.3.0/24 table 254: missing (Node node3)"],
    also: ({ barePackets }) => expect(barePackets[0]!.packets).toBeGreaterThan(0),
  },
  {
    what: "a direct block's IPv6 route is removed",
    damage: () => ["node2", "ip -6 route del fd00:10:244:1::/64 dev eth0"],
    losses: () => [lost.blockRoute("node2", "node1")],
    families: [6],
    drift: () => ["node2 route fd00:10:244:1::/64 table 254: missing (Node node1)"],
  },
  {
    what: "a forwarding entry is removed",
    damage: () => ["node1", `bridge fdb del ${vtep()} dev weft-vxlan dst 198.18.2.11`],
    losses: () => [lost.tunnel("node1", "node3")],
    drift: () => [`node1 forwarding weft-vxlan ${vtep()}: missing (Node node3)`],
  },
  {
    // The first packet leaves an entry that nobody answers for in its place.
    what: "the tunnel gateway's neighbour entry is removed",
    damage: () => ["node1", "ip neighbour del 10.244.3.1 dev weft-vxlan"],
    losses: () => [lost.tunnel("node1", "node3")],
    families: [4],
    drift: () => [
      expect.stringMatching(
        /^node1 neighbour weft-vxlan 10\.244\.3\.1: (missing|mac is absent, .*, not permanent) .Node node3/,
      ),
    ],
  },
  {
    // The kernel asks the pod by ARP and goes on: only the plan knows that something is missing.
    what: "a pod's neighbour entry is removed",
    damage: () => ["node1", `ip neighbour del ${ip4()} dev ${victim.hostLink}`],
    drift: () => [
      expect.stringMatching(
        new RegExp(
          `^node1 neighbour ${victim.hostLink} ${ip4()}: (missing|state is [a-z]+, not permanent) .Pod`,
        ),
      ),
    ],
  },
  {
    what: "a pod's neighbour entry is wrong",
    damage: () => [
      "node1",
      `ip neighbour replace ${ip4()} dev ${victim.hostLink} lladdr 02:00:00:00:00:09 nud permanent`,
    ],
    losses: () => [lost.pod(pod())],
    families: [4],
    drift: () => [
      `node1 neighbour ${victim.hostLink} ${ip4()}: mac is 02:00:00:00:00:09, not ${victim.mac} ${byPod()}`,
    ],
  },
  {
    what: "the rule that sends pods to other nodes through the tunnel is removed",
    damage: () => ["node1", "ip rule del from 10.244.1.0/24"],
    losses: () => [lost.nodeRoute("node1", "node3")],
    families: [4],
    drift: () => ["node1 rule 10.244.1.0/24 table 8700: missing (Node node1)"],
  },
  {
    what: "a route has a source that nobody can answer",
    damage: () => [
      "node1",
      `ip route replace 10.244.3.0/24 via 10.244.3.1 dev weft-vxlan onlink src 169.254.1.1 proto 87 metric ${metric()}`,
    ],
    losses: () => [lost.source("node1", "node3")],
    families: [4],
    drift: () => ["node1 route 10.244.3.0/24 table 254: source is 169.254.1.1, not 10.244.1.1 (Node node3)"],
  },
  {
    // Pods answer other nodes through the tunnel too, so that this works, but is not what was asked for.
    what: "a route has another source of the node",
    damage: () => [
      "node1",
      `ip route replace 10.244.3.0/24 via 10.244.3.1 dev weft-vxlan onlink src 198.18.1.11 proto 87 metric ${metric()}`,
    ],
    drift: () => ["node1 route 10.244.3.0/24 table 254: source is 198.18.1.11, not 10.244.1.1 (Node node3)"],
  },
  {
    what: "forwarding is switched off",
    damage: () => ["node2", "sysctl -qw net.ipv4.ip_forward=0"],
    losses: () => [lost.forwarding("node2")],
    families: [4],
    drift: () => ["node2 sysctl 1 net/ipv4/ip_forward: is 0, not 1 (Node node2)"],
  },
  {
    what: "a hand-made masquerade",
    damage: () => [
      "node1",
      `nft 'table ${FOREIGN} { chain post { type nat hook postrouting priority srcnat; oifname "weft-vxlan" masquerade; }; }'`,
    ],
    losses: () => [lost.masquerade("node1")],
    drift: () => [],
    undo: `nft delete table ${FOREIGN}`,
    also({ failures }) {
      for (const { message } of failures) expect(message).toStartWith("address translated: ");
    },
  },
  {
    what: "a foreign chain drops what is forwarded",
    damage: () => [
      "node2",
      `nft 'table ${FOREIGN} { chain fw { type filter hook forward priority filter; policy drop; }; }'`,
    ],
    losses: () => [lost.forwarding("node2")],
    drift: () => [],
    undo: `nft delete table ${FOREIGN}`,
    async also({ foreignChains }) {
      expect(foreignChains.map((c) => `${c.node} ${c.table}`)).toEqual(["node2 e2e_foreign"]);
      expect((await lab.status()).stdout).toContain(
        `! node2: table ${FOREIGN}, chain fw (hook forward, priority 0) can drop pod traffic: its policy is drop`,
      );
    },
  },
  {
    what: "a pod's MTU is lowered",
    damage: () => [pod(), "ip link set eth0 mtu 1300"],
    losses: () => [lost.podMtu(pod())],
    probes: ["mtu"],
    drift: () => [`node1 attachment ${victim.id}: eth0 in the container: mtu is 1300, not 1450 ${byPod()}`],
  },
  {
    what: "the tunnel's MTU is lowered",
    damage: () => ["node1", "ip link set weft-vxlan mtu 1300"],
    losses: () => [lost.tunnelMtu("node1")],
    probes: ["mtu"],
    drift: () => ["node1 tunnel weft-vxlan: mtu is 1300, not 1450 (Settings weft)"],
  },
  {
    // What the spine sends on is fragmented; what its link takes in is not, and is dropped.
    what: "the MTU of one of the spine's links is lowered",
    damage: () => ["spine", "ip link set rack2 mtu 1400"],
    losses: () => [lost.rackMtu("rack2", "rack1")],
    probes: ["mtu"],
    drift: () => [],
    undo: "ip link set rack2 mtu 1500",
  },
  {
    what: "the node's end of a pod's pair is deleted",
    damage: () => ["node1", `ip link del ${victim.hostLink}`],
    drift: () =>
      [
        `node1 attachment ${victim.id}: missing ${byPod()}`,
        ...victim.addresses.flatMap((ip) => [
          `node1 neighbour ${victim.hostLink} ${ip}: missing ${byPod()}`,
          `node1 route ${ip}/${ip.includes(":") ? 128 : 32} table 254: missing ${byPod()}`,
        ]),
      ].sort(),
    // There is nothing left to listen on: no pair of this pod can be tested, and that is not well either.
    also({ setupErrors, pairs, endpoints }) {
      expect(setupErrors.map((e) => `${e.subject}: ${e.message}`)).toEqual(
        victim.addresses.map((ip) => `${pod()}: ${ip} is not assigned in its network namespace`),
      );
      expect(pairs.total - pairs.tested).toBe(2 * endpoints.length - 1);
    },
  },
];

describe("damage", () => {
  for (const d of DAMAGES) {
    test(d.what, () => suffer(d), 240_000);
  }
});

async function suffer(d: Damage): Promise<void> {
  await lab.pause("10m");
  const [target, line] = d.damage();
  await lab.sh(target, line);
  try {
    const { code, report } = await lab.check();
    const expected = expectedFailures(
      report,
      d.families ?? BOTH,
      d.probes ?? EXCHANGE,
      ...(d.losses?.() ?? []),
    );
    if (d.losses !== undefined) expect(expected).not.toEqual([]);
    expect(failureTexts(report)).toEqual(expected);
    expect(report.drift.map(driftText).sort()).toEqual([...d.drift()] as string[]);
    const bad = expected.length > 0 || report.setupErrors.length > 0;
    expect(code).toBe(bad ? 1 : 0);
    await d.also?.(report);
  } finally {
    if (d.undo !== undefined) await lab.sh(target, d.undo);
    await lab.pause("0");
  }
  await untilWell();
}

async function untilWell(): Promise<void> {
  const since = performance.now();
  let last: Report | undefined;
  await until(
    "everything is repaired",
    REPAIRED_MS,
    async () => {
      const { code, report } = await lab.check();
      last = report;
      return code === 0 && report.drift.length === 0;
    },
    () => ({ drift: last?.drift, failures: last?.failures.length, setup: last?.setupErrors }),
  );
  slowest = Math.max(slowest, performance.now() - since);
}

test("somebody else's chain stays, is named, and matters, until it is removed", async () => {
  await lab.sh(
    "node2",
    `nft 'table ${FOREIGN} { chain fw { type filter hook forward priority 10; policy drop; }; }'`,
  );
  expect((await lab.check()).code).toBe(1);
  expect((await lab.status()).stdout).toContain(`table ${FOREIGN}, chain fw`);
  await lab.sh("node2", `nft delete table ${FOREIGN}`);
  await untilWell();
  expect((await lab.status()).stdout).not.toContain("!");
}, 120_000);

test("what is damaged without a pause is repaired too", async () => {
  await lab.sh("node1", `ip route flush proto 87; ip link del weft-vxlan; ip link del ${victim.hostLink}`);
  await untilWell();
}, 120_000);

test("a pause that ends by itself is followed by a repair", async () => {
  await lab.pause("500ms");
  await lab.sh("node1", "ip route del 10.244.3.0/24 dev weft-vxlan");
  await lab.sh(pod(), "ip link set eth0 mtu 1300");
  await untilWell();
}, 120_000);

test("the MTU of the underlay is followed", async () => {
  const podMtu = async (expected: number): Promise<void> => {
    await until(`pods of node1 have an MTU of ${expected}`, REPAIRED_MS, async () => {
      const agent = await lab.agent("node1");
      return agent.context?.podMtu === expected && agent.plan.every((t) => t.pending === 0);
    });
    expect(await lab.sh(pod(), "ip link show eth0")).toContain(` mtu ${expected} `);
    const { report } = await lab.check();
    expect(failureTexts(report)).toEqual([]);
    expect(report.drift).toEqual([]);
  };
  await lab.sh("node1", "ip link set eth0 mtu 1400");
  await podMtu(1350);
  await lab.sh("node1", "ip link set eth0 mtu 1500");
  await podMtu(1450);
}, 120_000);
