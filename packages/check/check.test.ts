import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { isInvalid, parseIp } from "@weft/base";
import { listNamed } from "@weft/kernel/netns";
import { checkNetwork } from "./check.ts";
import { renderReport } from "./render.ts";
import { FAST, removeStale, withNetwork } from "./testnet.ts";

beforeAll(removeStale);
afterAll(removeStale);

describe("a network without faults", () => {
  test("passes, every pair with every probe", () =>
    withNetwork(async ({ input }) => {
      const report = await checkNetwork(input, FAST);
      expect(report.failures).toEqual([]);
      expect(report.setupErrors).toEqual([]);
      expect(report.ok).toBe(true);
      // tcp and udp for 36 pairs; mtu and mtu+1 for the 12 ordered pairs of different pods; two families.
      expect(report.pairs).toEqual({
        tested: 36,
        total: 36,
        sampled: false,
        probes: 2 * (36 * 2 + 12 * 2),
      });
      expect(report.matrix.cells.flat().every((cell) => cell.tested === 1 && cell.marks === "")).toBe(true);
      expect(JSON.parse(JSON.stringify(report)).pairs).toEqual(report.pairs);
    }));

  test("pods of the host network are endpoints in their node's namespace", () =>
    withNetwork(async ({ input }) => {
      const host = {
        namespace: "kube-system",
        name: "agent",
        hostNetwork: true,
        namespacePath: "",
        interface: "",
      };
      const pods = [...input.pods, { ...host, node: "node1", addresses: [parseIp("10.0.0.1")], mtu: 0 }];
      const report = await checkNetwork({ ...input, pods }, FAST);
      expect(report.failures).toEqual([]);
      expect(report.ok).toBe(true);
      expect(report.pairs.tested).toBe(49);
    }));

  test("a tunnel address as a node's source is the node's own", () =>
    withNetwork(async ({ input, ip }) => {
      ip(
        "node1",
        "address add 10.244.1.1/32 dev lo",
        "route replace 10.244.2.0/24 via 10.0.0.2 src 10.244.1.1",
      );
      const report = await checkNetwork(input, FAST);
      expect(report.failures).toEqual([]);
    }));

  test("an IPv6 address in duplicate address detection is waited for", () =>
    withNetwork(async ({ input, ip }) => {
      const address = input.pods[0]!.addresses[1]!;
      ip("a", `address del ${address}/128 dev eth0`, `address add ${address}/128 dev eth0`);
      const report = await checkNetwork(input, FAST);
      expect([report.setupErrors, report.failures]).toEqual([[], []]);
    }));

  test("a sample has every endpoint both ways and says so", () =>
    withNetwork(async ({ input }) => {
      const report = await checkNetwork(input, { ...FAST, maxPairs: 9 });
      expect([report.setupErrors, report.failures]).toEqual([[], []]);
      expect(report.ok).toBe(true);
      expect(report.pairs).toMatchObject({ tested: 9, total: 36, sampled: true });
      const tested = report.matrix.cells.map((row) => row.map((cell) => cell.tested));
      for (const row of tested) expect(row.some((n) => n > 0)).toBe(true);
      for (let i = 0; i < 6; i++) expect(tested.some((row) => row[i]! > 0)).toBe(true);
      const again = await checkNetwork(input, { ...FAST, maxPairs: 9 });
      expect(again.matrix).toEqual(report.matrix);
      expect(renderReport(report)).toContain("9 pairs tested, a sample of 36");
    }));
});

describe("what cannot be tested is named", () => {
  test("a namespace that is not there, an address that is missing, a pod without any", () =>
    withNetwork(async ({ input, ip }) => {
      ip("d", "address del 10.244.2.3/32 dev eth0");
      const pod = input.pods[0]!;
      const pods = [
        ...input.pods,
        {
          ...pod,
          name: "gone",
          namespacePath: "/run/netns/weft-t-check-none",
          addresses: [parseIp("10.244.1.77")],
        },
        { ...pod, name: "empty", addresses: [] },
        { ...pod, name: "lost", hostNetwork: true, node: "node9" },
      ];
      const report = await checkNetwork({ ...input, pods }, FAST);
      expect(report.ok).toBe(false);
      expect(report.failures).toEqual([]);
      const errors = Object.fromEntries(report.setupErrors.map((e) => [e.subject, e.message]));
      expect(Object.keys(errors).sort()).toEqual([
        "default/d",
        "default/empty",
        "default/gone",
        "default/lost",
      ]);
      expect(errors["default/d"]).toBe("10.244.2.3 is not assigned in its network namespace");
      expect(errors["default/empty"]).toBe("it has no address");
      expect(errors["default/gone"]).toStartWith("its network namespace cannot be opened: ");
      expect(errors["default/lost"]).toBe('its node "node9" is not among the nodes checked');
      // d is still tested over IPv6; those that are gone are not.
      expect(report.pairs.tested).toBe(36);
      const text = renderReport(report);
      expect(text).toContain("Could not be tested:");
      expect(text).toContain("-: not tested");
    }));

  test("counters and drift that cannot be read", () =>
    withNetwork(async ({ input }) => {
      const report = await checkNetwork(
        {
          ...input,
          barePackets: () => {
            throw new Error("no nft here");
          },
          drift: () => Promise.reject(new Error("the agent of node1 does not answer")),
        },
        FAST,
      );
      const messages = report.setupErrors.map((e) => e.message);
      expect(messages.some((m) => m.includes("no nft here"))).toBe(true);
      expect(messages.some((m) => m.includes("the agent of node1 does not answer"))).toBe(true);
      expect([report.ok, report.drift, report.barePackets]).toEqual([false, undefined, undefined]);
    }));

  test("nothing to test is no proof", async () => {
    const report = await checkNetwork({ nodes: [], pods: [] });
    expect([report.ok, report.setupErrors.length, report.pairs.total]).toEqual([false, 1, 0]);
  });

  test("contradicting input is refused", async () => {
    const node = { name: "n", namespacePath: "/proc/self/ns/net", addresses: [] };
    for (const run of [
      () => checkNetwork({ nodes: [node, node], pods: [] }),
      () => checkNetwork({ nodes: [], pods: [] }, { timeoutMs: 0 }),
      () => checkNetwork({ nodes: [], pods: [] }, { maxPairs: 1.5 }),
    ]) {
      expect(isInvalid(await run().catch((error: unknown) => error))).toBe(true);
    }
  });
});

describe("around the probes", () => {
  test("bare packets are the increase, drift and foreign chains are passed on", () =>
    withNetwork(async ({ input }) => {
      let reads = 0;
      const chain = { node: "node2", family: "inet", table: "foreign", hook: "forward", priority: 0 };
      const report = await checkNetwork(
        {
          ...input,
          barePackets: () => {
            reads++;
            return [
              { name: "node1 eth0", packets: 5 * reads },
              { name: "node2 eth0", packets: 7 },
            ];
          },
          drift: async () => [{ node: "node1", kind: "route", key: "10.244.2.0/24", difference: "missing" }],
          foreignChains: [
            { ...chain, chain: "forward", policy: "drop", hasDropRules: false },
            { ...chain, chain: "harmless", policy: "accept", hasDropRules: false },
          ],
        },
        FAST,
      );
      expect(reads).toBe(2);
      expect(report.barePackets).toEqual([
        { name: "node1 eth0", packets: 5 },
        { name: "node2 eth0", packets: 0 },
      ]);
      expect([report.ok, report.failures.length, report.drift?.length]).toEqual([false, 0, 1]);
      expect(report.foreignChains.map((c) => c.chain)).toEqual(["forward"]);
    }));

  test("no file stays open, and nothing in the namespaces, after faults too", () =>
    withNetwork(async ({ input, ip, namespaceOf }) => {
      const count = (): number => readdirSync("/proc/self/fd").length;
      // The first asynchronous call of a process opens what its threads need.
      await checkNetwork(input, FAST);
      const before = count();
      await checkNetwork(input, FAST);
      ip("node1", "link set eth0 down");
      expect((await checkNetwork(input, FAST)).failures.length).toBeGreaterThan(0);
      const gone = { ...input.nodes[0]!, name: "gone", namespacePath: "/nowhere" };
      await checkNetwork({ ...input, nodes: [...input.nodes, gone] }, FAST);
      await checkNetwork(
        { ...input, pods: [] },
        {
          ...FAST,
          timeoutMs: 1500,
          onProgress: () => {
            throw new Error("stopped");
          },
        },
      ).catch((error: Error) => expect(error.message).toBe("stopped"));
      // What the runtime has opened for its own processes may go a moment later.
      for (let i = 0; i < 1000 && count() > before; i++) await Bun.sleep(10);
      expect(count()).toBeLessThanOrEqual(before);
      const left = (): string =>
        Bun.spawnSync(["ip", "netns", "exec", namespaceOf("a"), "ss", "-Htuan"]).stdout.toString();
      // A server's end of a connection whose reset was lost waits for the kernel to give it up.
      for (let i = 0; i < 100 && left() !== ""; i++) await Bun.sleep(200);
      expect(left()).toBe("");
    }));

  test("JavaScript goes on while nothing answers, and progress is told after a second", () =>
    withNetwork(async ({ input, ip }) => {
      ip("node1", "link set h0 down");
      let ticks = 0;
      const told: number[] = [];
      const timer = setInterval(() => ticks++, 10);
      await checkNetwork(input, { timeoutMs: 1300, onProgress: (p) => told.push(p.elapsedMs) });
      clearInterval(timer);
      expect(ticks).toBeGreaterThan(10);
      expect(told.length).toBeGreaterThan(0);
      expect(Math.min(...told)).toBeGreaterThanOrEqual(1000);
    }));

  test("namespaces of the tests are gone", () => {
    expect(listNamed(`weft-t-check-${process.pid}-`)).toEqual([]);
  });
});
