import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { isExists, isNotFound } from "@weft/base";
import { ROUTE_PROTOCOL } from "@weft/kernel";
import { createNamed, listNamed, namedPath, openNetns, spawnSyncIn } from "@weft/kernel/netns";
import { createNftables } from "@weft/kernel/nftables";
import { openNamespace } from "@weft/kernel/rtnetlink";
import { barePackets, buildUnderlay, isBuilt, labNamespaces, removeNamespaces } from "./build.ts";
import { parseLabOptions } from "./options.ts";
import { namespaceName, planTopology } from "./topology.ts";

/** Stale ones of an earlier run that was killed. */
const PREFIX = "t-lb";
const first = `${PREFIX}${process.pid}`;
const second = `${first}b`;

const run = (lab: string, label: string, ...argv: string[]): { code: number; text: string } => {
  const handle = openNetns(namedPath(namespaceName(lab, label)));
  try {
    const { exitCode, stdout, stderr } = spawnSyncIn(handle, argv);
    return { code: exitCode, text: stdout.toString() + stderr.toString() };
  } finally {
    handle.close();
  }
};
const ping = (lab: string, from: string, to: string, ...more: string[]): boolean =>
  run(lab, from, "ping", "-n", "-c", "1", "-W", "20", ...more, to).code === 0;
/** A packet is on its way while its sender waits for the answer. */
const until = async (look: () => boolean): Promise<void> => {
  for (let i = 0; i < 2000 && !look(); i++) await Bun.sleep(10);
  expect(look()).toBe(true);
};
const withNamespace = <T>(lab: string, label: string, fn: (ns: ReturnType<typeof openNamespace>) => T): T => {
  const ns = openNamespace(namedPath(namespaceName(lab, label)));
  try {
    return fn(ns);
  } finally {
    ns.close();
  }
};

beforeAll(() => {
  for (const name of listNamed(`weft-${PREFIX}`)) {
    const lab = /^weft-(t-lb\d+b?)-/.exec(name)?.[1];
    const pid = /\d+/.exec(lab ?? "")?.[0];
    if (lab !== undefined && !existsSync(`/proc/${pid}`)) removeNamespaces(lab);
  }
});
afterAll(() => {
  removeNamespaces(first);
  removeNamespaces(second);
});

describe("the underlay", () => {
  const plan = planTopology(parseLabOptions({ name: first }));

  test("nodes reach one another, the spine and the outside in both families", async () => {
    await buildUnderlay(plan);
    expect(isBuilt(plan)).toBe(true);
    const [one, two, three] = plan.nodes;
    for (const target of [
      ...two!.addresses,
      ...three!.addresses,
      ...plan.outside,
      "198.18.2.1",
    ] as string[]) {
      expect(`${target} ${ping(first, "node1", target)}`).toBe(`${target} true`);
    }
    for (const address of one!.addresses) expect(ping(first, "outside", address)).toBe(true);
    // The full MTU passes, and not a byte more.
    expect(ping(first, "node1", three!.addresses[0]!, "-M", "do", "-s", "1472")).toBe(true);
    expect(ping(first, "node1", three!.addresses[0]!, "-M", "do", "-s", "1473", "-W", "0.2")).toBe(false);
  });

  test("nodes begin as hosts that forward nothing and check sources", () => {
    for (const node of plan.nodes) {
      withNamespace(first, node.name, (ns) => {
        expect(ns.sysctl("net/ipv4/ip_forward")).toBe("0");
        expect(ns.sysctl("net/ipv6/conf/all/forwarding")).toBe("0");
        for (const key of ["all", "default", "eth0"]) {
          expect(`${key} ${ns.sysctl(`net/ipv4/conf/${key}/rp_filter`)}`).toBe(`${key} 1`);
        }
        const addresses = ns.addresses("eth0").filter((a) => a.scope === "global");
        expect(addresses.every((a) => !a.tentative)).toBe(true);
        // The node's own routes must not look like the agent's: it would prune them.
        expect(ns.routes({ protocol: ROUTE_PROTOCOL })).toEqual([]);
        expect(ns.link("eth0")).toMatchObject({ mtu: 1500, up: true, carrier: true });
      });
    }
    withNamespace(first, "spine", (ns) => {
      expect(ns.sysctl("net/ipv4/ip_forward")).toBe("1");
      expect(ns.sysctl("net/ipv6/conf/all/forwarding")).toBe("1");
    });
  });

  test("the spine drops and counts packets with a pod address, from and to", async () => {
    const before = barePackets(first);
    expect(before).toEqual({ ipv4: 0, ipv6: 0 });
    withNamespace(first, "node1", (ns) => {
      ns.replaceAddress({ link: "lo", address: "10.244.1.5/32" as never });
      ns.replaceAddress({ link: "lo", address: "fd00:10:244:1::5/128" as never });
    });
    // To a pod of a node behind the spine, from a pod address, and in both families.
    const quick = ["-W", "0.2"];
    expect(ping(first, "node1", "10.244.3.9", ...quick)).toBe(false);
    await until(() => barePackets(first).ipv4 > before.ipv4);
    const middle = barePackets(first);
    expect(ping(first, "node1", "198.18.2.11", "-I", "10.244.1.5", ...quick)).toBe(false);
    await until(() => barePackets(first).ipv4 > middle.ipv4);
    expect(ping(first, "node1", "fd57:eff7:0:2::11", "-I", "fd00:10:244:1::5", ...quick)).toBe(false);
    await until(() => barePackets(first).ipv6 > before.ipv6);
    // What the network itself says is not counted.
    const after = barePackets(first);
    expect(ping(first, "node1", "198.18.2.11")).toBe(true);
    expect(barePackets(first)).toEqual(after);
  });

  test("another lab stands beside it and is not touched by its end", async () => {
    const options = parseLabOptions({ name: second, underlay: "ipv4", hostile: ["forward-drop"] });
    const beside = planTopology(options);
    await buildUnderlay(beside);
    expect(ping(second, "node1", "198.18.2.11")).toBe(true);
    expect(ping(second, "node1", "203.0.113.10")).toBe(true);
    withNamespace(second, "node1", (ns) => {
      expect(ns.sysctl("net/ipv6/conf/eth0/disable_ipv6")).toBe("1");
      expect(ns.addresses("eth0").map((a) => a.address)).toEqual(["198.18.1.11/24" as never]);
      const nftables = createNftables(ns);
      expect(nftables.baseChains()).toMatchObject([
        { table: "hostile_firewall", hook: "forward", priority: 10, policy: "drop" },
      ]);
      nftables.close();
    });
    const again = await buildUnderlay(beside).catch((error: unknown) => error);
    expect(isExists(again)).toBe(true);
    removeNamespaces(first);
    expect(labNamespaces(first)).toEqual([]);
    expect(isBuilt(beside)).toBe(true);
    expect(ping(second, "node3", "198.18.1.11")).toBe(true);
    expect(() => barePackets(first)).toThrow();
    removeNamespaces(second);
    expect(listNamed(`weft-${first}`)).toEqual([]);
  });

  test("an IPv6 underlay has no IPv4", async () => {
    const six = planTopology(parseLabOptions({ name: first, underlay: "ipv6", nodes: 2 }));
    await buildUnderlay(six);
    expect(ping(first, "node1", "fd57:eff7:0:2::11")).toBe(true);
    expect(ping(first, "node1", "198.18.2.11")).toBe(false);
    removeNamespaces(first);
  });

  test("a half-made lab is removed, and removing nothing succeeds", async () => {
    const plan = planTopology(parseLabOptions({ name: first }));
    for (const steps of [0, 3, 9]) {
      let left = steps;
      const stop = { throwIfAborted: () => left-- > 0 || fail() } as unknown as AbortSignal;
      const fail = (): never => {
        throw new Error("ended");
      };
      await expect(buildUnderlay(plan, stop)).rejects.toThrow("ended");
      expect(labNamespaces(first)).toHaveLength(Math.min(steps, plan.namespaces.length));
      removeNamespaces(first);
      expect(labNamespaces(first)).toEqual([]);
    }
    createNamed(namespaceName(first, "node7"));
    createNamed(namespaceName(first, "pod-default-left"));
    // A name whose namespace is gone: what a kill between two system calls leaves.
    await Bun.write(namedPath(namespaceName(first, "rack2")), "");
    expect(removeNamespaces(first)).toHaveLength(3);
    expect(removeNamespaces(first)).toEqual([]);
    expect(() => openNetns(namedPath(namespaceName(first, "node7")))).toThrow();
    try {
      barePackets(first);
    } catch (error) {
      expect(isNotFound(error)).toBe(true);
    }
  });
});
