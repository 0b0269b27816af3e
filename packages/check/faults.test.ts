/** Each fault that is put into a real network is found, in exactly the pairs that it breaks. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { checkNetwork } from "./check.ts";
import { FAST, POD_MTU, removeStale, withNetwork } from "./testnet.ts";
import type { CheckFailure, CheckReport } from "./types.ts";

beforeAll(removeStale);
afterAll(removeStale);

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
      expect(failure(report, "default/c", "default/a", "tcp").message).toBe("timed out after 1 s");
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
      expect(failure(report, "default/a", "default/c", "tcp").message).toBe("timed out after 1 s");
      expect(failure(report, "default/c", "default/a", "udp").message).toBe(
        "the packet arrived, its answer did not within 1 s",
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
      expect(failure(report, "default/a", "default/c", "tcp").message).toBe("timed out after 1 s");
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

  test("the first packet of every exchange is lost: that is no fault, and with no second try it is", () =>
    withNetwork(async ({ input, nft }) => {
      // Both protocols have a set for each family; answers are not counted.
      const parts = [4, 6].flatMap((family) =>
        ["tcp", "udp"].map((protocol) => {
          const ip = family === 4 ? "ip" : "ip6";
          const type = family === 4 ? "ipv4_addr" : "ipv6_addr";
          const key = `${ip} saddr . ${ip} daddr . ${protocol} dport`;
          const name = `${protocol}${family}`;
          return {
            set: `set ${name} { type ${type} . ${type} . inet_service; flags dynamic; size 1000; }`,
            rule: `ct direction original meta l4proto ${protocol} ${key} != @${name} add @${name} { ${key} } drop`,
          };
        }),
      );
      const rules = [
        "table inet t {",
        ...parts.map(({ set }) => set),
        "chain c { type filter hook forward priority 0;",
        ...parts.map(({ rule }) => rule),
        "}",
        "}",
      ].join("\n");
      nft("node2", rules);
      const report = await checkNetwork(input, FAST);
      expect([report.setupErrors, report.failures]).toEqual([[], []]);
      nft("node2", `delete table inet t\n${rules}`);
      const once = await checkNetwork(input, { ...FAST, retries: 0 });
      expect(failed(once).filter((f) => f.startsWith("a>c"))).toEqual([
        "a>c 4t",
        "a>c 4u",
        "a>c 6t",
        "a>c 6u",
      ]);
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

  test("an unreachable route, and who said so", () =>
    withNetwork(async ({ input, ip }) => {
      ip("node2", "route replace unreachable fd00:244:1::/64");
      const report = await checkNetwork(input, FAST);
      expect(failed(report)).toEqual(across("node2 c d", "a b", "6t 6u"));
      expect(failure(report, "default/c", "default/a", "tcp", 6).message).toBe("no route (ENETUNREACH)");
      expect(failure(report, "default/c", "default/a", "udp", 6).message).toMatch(
        // By its link-local address, or while that is not usable yet, by its other one.
        /^no route \(ENETUNREACH\), says (its gateway \(fe80::|node2 \(fd00::2)/,
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
