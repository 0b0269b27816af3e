import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { isInvalid, parseIp } from "@weft/base";
import { listNamed } from "@weft/kernel/netns";
import { checkNetwork } from "./check.ts";
import { renderReport } from "./render.ts";
import { createTestNetwork, POD_MTU, removeStale, type TestNetwork } from "./testnet.ts";
import type { CheckFailure, CheckOptions, CheckReport } from "./types.ts";

/** Long enough for a loaded machine, and short enough for a test of what never answers. */
const FAST: CheckOptions = { timeoutMs: 250 };

beforeAll(removeStale);
afterAll(removeStale);

async function withNetwork(work: (network: TestNetwork) => Promise<void>): Promise<void> {
  const network = createTestNetwork();
  try {
    await work(network);
  } finally {
    network.remove();
  }
}

/** "a>c 4t": what failed, sorted; pods without their namespace. */
function failed(report: CheckReport): string[] {
  const short = (name: string): string => name.replace("default/", "");
  const letter = { tcp: "t", udp: "u", mtu: "m", "mtu+1": "+" } as const;
  return report.failures.map((f) => `${short(f.from)}>${short(f.to)} ${f.family}${letter[f.probe]}`).sort();
}

/** Every ordered pair between the two sides, in both directions. */
function across(left: string, right: string, marks: string): string[] {
  const pairs = left.split(" ").flatMap((a) => right.split(" ").flatMap((b) => [`${a}>${b}`, `${b}>${a}`]));
  return expand(pairs, marks);
}

const expand = (pairs: readonly string[], marks: string): string[] =>
  pairs.flatMap((pair) => marks.split(" ").map((mark) => `${pair} ${mark}`)).sort();

const failure = (report: CheckReport, from: string, to: string, probe: string, family = 4): CheckFailure => {
  const found = report.failures.find(
    (f) => f.from === from && f.to === to && f.probe === probe && f.family === family,
  );
  if (found === undefined) throw new Error(`no such failure: ${JSON.stringify(report.failures)}`);
  return found;
};

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

describe("a fault is found in exactly the pairs it breaks", () => {
  test("a removed route", () =>
    withNetwork(async ({ input, ip }) => {
      ip("node1", "route del 10.244.2.0/24");
      const report = await checkNetwork(input, FAST);
      // Requests there and answers back: node1's side and node2's pods do not reach each other.
      expect(failed(report)).toEqual(across("node1 a b", "c d", "4t 4u"));
      expect(failure(report, "node1", "default/c", "tcp").message).toBe("no route (ENETUNREACH)");
      for (const probe of ["tcp", "udp"]) {
        expect(failure(report, "default/a", "default/c", probe).message).toBe(
          "no route (ENETUNREACH), says node1 (10.0.0.1)",
        );
      }
      expect(failure(report, "default/c", "default/a", "tcp").message).toBe("timed out after 250 ms");
      expect(failure(report, "default/c", "node1", "udp").message).toBe(
        "node1 got the packet but cannot answer: no route (ENETUNREACH)",
      );
      expect(report.ok).toBe(false);
    }));

  test("a removed IPv6 route", () =>
    withNetwork(async ({ input, ip }) => {
      ip("node2", "route del fd00:244:1::/64");
      expect(failed(await checkNetwork(input, FAST))).toEqual(across("node2 c d", "a b", "6t 6u"));
    }));

  test("a removed neighbour entry where nothing resolves it", () =>
    withNetwork(async ({ input, ip }) => {
      ip("node1", "neighbour del 10.0.0.2 dev eth0");
      const report = await checkNetwork(input, FAST);
      expect(failed(report)).toEqual(across("node1 a b", "node2 c d", "4t 4u"));
      expect(failure(report, "default/a", "default/c", "tcp").message).toBe("timed out after 250 ms");
      expect(failure(report, "default/c", "default/a", "udp").message).toBe(
        "the packet arrived, its answer did not within 250 ms",
      );
    }));

  test("masquerading", () =>
    withNetwork(async ({ input, nft }) => {
      nft(
        "node1",
        'table ip t { chain c { type nat hook postrouting priority 100; oifname "eth0" masquerade; }; }',
      );
      const report = await checkNetwork(input, FAST);
      const pairs = ["a", "b"].flatMap((x) => ["node2", "c", "d"].map((y) => `${x}>${y}`));
      expect(failed(report)).toEqual(expand(pairs, "4t 4u"));
      for (const probe of ["tcp", "udp"]) {
        expect(failure(report, "default/a", "node2", probe).message).toBe(
          "address translated: node2 saw 10.0.0.1, the pod sent from 10.244.1.2",
        );
      }
    }));

  test("a destination that is translated", () =>
    withNetwork(async ({ input, nft }) => {
      nft(
        "node1",
        "table ip t { chain c { type nat hook prerouting priority -100; ip daddr 10.244.2.2 dnat to 10.244.2.3; }; }",
      );
      const report = await checkNetwork(input, FAST);
      const pairs = new Set(failed(report).map((f) => f.split(" ")[0]));
      expect([...pairs].sort()).toEqual(["a>c", "b>c"]);
    }));

  test("a drop of forwarded IPv4", () =>
    withNetwork(async ({ input, nft }) => {
      nft("node2", "table ip t { chain c { type filter hook forward priority 0; policy drop; }; }");
      const report = await checkNetwork(input, FAST);
      expect(failed(report)).toEqual(
        [...across("node1 a b", "c d", "4t 4u"), ...across("c", "d", "4t 4u")].sort(),
      );
      expect(failure(report, "default/a", "default/c", "tcp").message).toBe("timed out after 250 ms");
    }));

  test("a drop of forwarded TCP", () =>
    withNetwork(async ({ input, nft }) => {
      nft(
        "node2",
        "table inet t { chain c { type filter hook forward priority 0; meta l4proto tcp drop; }; }",
      );
      const report = await checkNetwork(input, FAST);
      expect(failed(report)).toEqual(
        [...across("node1 a b", "c d", "4t 6t"), ...across("c", "d", "4t 6t")].sort(),
      );
    }));

  test("a reject in the pod", () =>
    withNetwork(async ({ input, nft }) => {
      nft(
        "c",
        "table inet t { chain c { type filter hook input priority 0; ip saddr 10.244.1.2 tcp flags & (syn | ack) == syn reject with tcp reset; }; }",
      );
      const report = await checkNetwork(input, FAST);
      expect(failed(report).filter((f) => f.endsWith("t"))).toEqual(["a>c 4t"]);
      expect(failure(report, "default/a", "default/c", "tcp").message).toBe("connection refused");
    }));

  test("a smaller MTU in the path, named by the router", () =>
    withNetwork(async ({ input, ip }) => {
      ip("node1", "link set eth0 mtu 1300");
      ip("node2", "link set eth0 mtu 1300");
      const report = await checkNetwork(input, FAST);
      expect(failed(report)).toEqual(across("a b", "c d", "4m 6m"));
      for (const family of [4, 6]) {
        const router = `node1 (${family === 4 ? "10.0.0.1" : "fd00::1"})`;
        expect(failure(report, "default/a", "default/c", "mtu", family).message).toBe(
          `a packet of ${POD_MTU} bytes (the pod MTU) does not get through: ${router} lets only 1300 through`,
        );
      }
    }));

  test("a smaller MTU in the path whose router says nothing", () =>
    withNetwork(async ({ input, ip, nft }) => {
      ip("node1", "link set eth0 mtu 1300");
      nft(
        "node1",
        "table inet t { chain c { type filter hook output priority 0; meta l4proto { icmp, icmpv6 } drop; }; }",
      );
      const report = await checkNetwork(input, FAST);
      // Both ways: eth0 does not take in what it would not send.
      expect(failed(report)).toEqual(across("a b", "c d", "4m 6m"));
      expect(failure(report, "default/a", "default/c", "mtu").message).toBe(
        `a packet of ${POD_MTU} bytes (the pod MTU) does not get through`,
      );
    }));

  test("an interface with less than the promised MTU", () =>
    withNetwork(async ({ input, ip }) => {
      ip("a", "link set eth0 mtu 1350");
      const report = await checkNetwork(input, FAST);
      expect(failed(report).filter((f) => f.startsWith("a>"))).toEqual(
        expand(["a>b", "a>c", "a>d"], "4m 6m"),
      );
      expect(failure(report, "default/a", "default/c", "mtu").message).toBe(
        "a packet of 1400 bytes (the pod MTU) does not get out: eth0 of default/a takes only 1350",
      );
    }));

  test("an MTU larger than promised", () =>
    withNetwork(async ({ input, ip }) => {
      for (const pod of ["a", "b"]) ip(pod, "link set eth0 mtu 1500");
      ip("node1", "link set h0 mtu 1500", "link set h1 mtu 1500");
      const report = await checkNetwork(input, FAST);
      expect(failed(report)).toEqual(across("a", "b", "4+ 6+"));
      expect(failure(report, "default/a", "default/b", "mtu+1").message).toBe(
        "a packet of 1401 bytes arrives: MTU of the interface is larger than promised (1400)",
      );
    }));

  test("two pods of different MTU exchange the smaller one", () =>
    withNetwork(async ({ input, ip }) => {
      ip("a", "link set eth0 mtu 1300");
      ip("node1", "link set h0 mtu 1300");
      const pods = input.pods.map((pod) => (pod.name === "a" ? { ...pod, mtu: 1300 } : pod));
      expect((await checkNetwork({ ...input, pods }, FAST)).failures).toEqual([]);
    }));

  test("an unreachable route, in the gateway's own words", () =>
    withNetwork(async ({ input, ip }) => {
      ip("node2", "route replace unreachable fd00:244:1::/64");
      const report = await checkNetwork(input, FAST);
      expect(failed(report)).toEqual(across("node2 c d", "a b", "6t 6u"));
      expect(failure(report, "default/c", "default/a", "tcp", 6).message).toBe("no route (ENETUNREACH)");
      expect(failure(report, "default/c", "default/a", "udp", 6).message).toMatch(
        /^no route \(ENETUNREACH\), says its gateway \(fe80::/,
      );
    }));

  test("a pod that sends from an address of nobody's", () =>
    withNetwork(async ({ input, ip }) => {
      ip("a", "address add 10.244.1.99/32 dev eth0", "route replace default via 169.254.1.1 src 10.244.1.99");
      ip(
        "node1",
        "route add 10.244.1.99 dev h0",
        "neighbour add 10.244.1.99 dev h0 lladdr 02:02:00:01:00:00 nud permanent",
      );
      const report = await checkNetwork(input, FAST);
      const pairs = ["node1", "node2", "b", "c", "d"].map((y) => `a>${y}`);
      expect(failed(report)).toEqual(expand(pairs, "4t 4u"));
      expect(failure(report, "default/a", "node2", "tcp").message).toBe(
        "the pod sent from 10.244.1.99, which is not one of its addresses (10.244.1.2, fd00:244:1::2)",
      );
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
      expect(count()).toBe(before);
      const left = Bun.spawnSync(["ip", "netns", "exec", namespaceOf("a"), "ss", "-Htuan"]).stdout.toString();
      expect(left).toBe("");
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
