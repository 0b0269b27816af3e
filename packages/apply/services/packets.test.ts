/** Services with real packets: who answers, whom it sees, and what refuses. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { Family, Prefix } from "@weft/base";
import { type Dial, dial, hear, hold, overhear } from "@weft/kernel/netns/testing";
import { closeFd, sendBytes, takeFault } from "@weft/kernel/sys";
import type { ServicePlanRow } from "@weft/model";
import { ADDRESS, type Place, ServiceNetwork, TUNNEL } from "./testing/network.ts";
import { backends, type FrontendOptions, frontend, nodeRows, serviceIp } from "./testing/rows.ts";
import { TestServices } from "./testing/services.ts";
import { sendStray } from "./testing/stray.ts";

/** Of what answers nobody; whoever is answered is waited for. */
const SILENCE_MS = 150;

let network: ServiceNetwork;
let services: TestServices;
beforeAll(() => {
  network = new ServiceNetwork();
  services = new TestServices(network.nft);
});
afterAll(async () => {
  await services.stop();
  network.close();
});
afterEach(() => network.flush());

const have = (...rows: ServicePlanRow[]): Promise<void> => services.go([...nodeRows(), ...rows]);
/** How often each backend answered. */
async function answers(from: Place, to: Dial, times: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < times; i++) {
    const name = (await ask(from, to)).split(" ")[0] as string;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}
const ask = (from: Place, to: Dial): Promise<string> => dial(network.handle(from), network.servers, to);

for (const family of [4, 6] as const satisfies readonly Family[]) {
  const at = (n: number) => serviceIp(family, n);
  const ip = (place: Place) => ADDRESS[place][family];
  describe(`IPv${family}`, () => {
    for (const protocol of ["tcp", "udp"] as const) {
      test(`${protocol}: everybody reaches the backends, and is seen as they should be`, async () => {
        const rows = (["a", "c"] as const).map((place, i) =>
          frontend({ family, address: at(i + 1), protocol, backends: backends(family, place) }),
        );
        await have(...rows);
        const to = (n: number) => ({ ip: at(n), port: 80, protocol });
        expect({
          podToLocal: await ask("b", to(1)),
          podToRemote: await ask("b", to(2)),
          itself: await ask("a", to(1)),
          nodeToLocal: await ask("node", to(1)),
          nodeToRemote: await ask("node", to(2)),
          clientToLocal: await ask("client", to(1)),
          clientToRemote: await ask("client", to(2)),
        }).toEqual({
          podToLocal: `a from ${ip("b")}`,
          podToRemote: `c from ${ip("b")}`,
          itself: `a from ${ip("node")}`,
          nodeToLocal: `a from ${ip("node")}`,
          nodeToRemote: `c from ${TUNNEL[family]}`,
          clientToLocal: `a from ${ip("node")}`,
          clientToRemote: `c from ${TUNNEL[family]}`,
        });
      });

      test(`${protocol}: what is closed answers at once, what drops does not, from everywhere`, async () => {
        await have(
          frontend({ family, address: at(1), protocol, action: "reject" }),
          frontend({ family, address: at(2), protocol, action: "drop" }),
        );
        for (const from of ["a", "node", "client"] as const) {
          const outcomes: string[] = [];
          for (const [n, port] of [
            [1, 80],
            [1, 81],
            [9, 80],
          ] as const)
            outcomes.push(await ask(from, { ip: at(n), port, protocol }));
          const dropped = await ask(from, { ip: at(2), port: 80, protocol, timeoutMs: SILENCE_MS });
          expect({ from, outcomes, dropped }).toEqual({
            from,
            // The kernel tells a sender on the node itself that its datagram was not let out.
            ...(protocol === "udp" && from === "node"
              ? { outcomes: ["EPERM", "EPERM", "EPERM"], dropped: "EPERM" }
              : { outcomes: ["ECONNREFUSED", "ECONNREFUSED", "ECONNREFUSED"], dropped: "timeout" }),
          });
        }
      });
    }

    test("every backend gets its share", async () => {
      await have(
        frontend({ family, address: at(1), protocol: "udp", backends: backends(family, "a", "b", "c") }),
      );
      const counts = await answers("client", { ip: at(1), port: 80, protocol: "udp" }, 600);
      expect(Object.keys(counts).sort()).toEqual(["a", "b", "c"]);
      // 200 each are expected; six standard deviations are 69.
      for (const count of Object.values(counts)) expect(Math.abs(count - 200)).toBeLessThan(70);
    });

    test("maglev: a source's place follows from its address and port, evenly", async () => {
      const row = frontend({
        family,
        address: at(1),
        protocol: "udp",
        backends: backends(family, "a", "b", "c"),
        balance: "maglev",
      });
      await have(row);
      const all = (): Promise<string[]> =>
        Promise.all(
          Array.from({ length: 60 }, async (_, i) => {
            const to: Dial = { ip: at(1), port: 80, protocol: "udp", fromPort: 20_000 + i * 7 };
            return (await ask("client", to)).split(" ")[0] as string;
          }),
        );
      const first = await all();
      expect(new Set(first)).toEqual(new Set(["a", "b", "c"]));
      network.flush();
      // Made anew, as on another node: the same places.
      await have();
      await have(row);
      expect(await all()).toEqual(first);
      network.flush();
      await have({ ...row, backends: backends(family, "a", "b") });
      const fewer = await all();
      const moved = first.filter((name, i) => name !== "c" && name !== fewer[i]).length;
      expect(fewer).not.toContain("c");
      expect(moved).toBeLessThan(first.length / 6);
    });

    test("affinity: a client keeps its backend for as long as it comes back in time", async () => {
      const row = frontend({
        family,
        address: at(1),
        protocol: "udp",
        backends: backends(family, "a", "b", "c"),
        affinity: 5,
      });
      const port = frontend({
        family,
        address: "node",
        port: 30_080,
        protocol: "udp",
        backends: backends(family, "a", "b", "c"),
        affinity: 600,
      });
      await have(row, port);
      const to: Dial = { ip: at(1), port: 80, protocol: "udp" };
      const toNode: Dial = { ip: ip("node"), port: 30_080, protocol: "udp" };
      for (const each of [to, toNode]) {
        for (const from of ["client", "b", "node"] as const) {
          if (each === toNode && from === "node") continue;
          const counts = await answers(from, each, 15);
          expect({ each, from, backends: Object.keys(counts).length }).toEqual({ each, from, backends: 1 });
        }
      }
      const mine = Object.keys(await answers("client", toNode, 3))[0] as Place;
      // Also when the table had to be made anew.
      await network.nft.run("flush chain inet weft-services services");
      await services.later();
      expect(Object.keys(await answers("client", toNode, 10))).toEqual([mine]);
      const others = backends(family, ...(["a", "b", "c"] as const).filter((name) => name !== mine));
      await have(row, { ...port, backends: others });
      // Who comes from a port of before is of that flow, until it is removed (flows/).
      network.flush();
      const after = Object.keys(await answers("client", toNode, 10));
      expect(after).toHaveLength(1);
      expect(after).not.toContain(mine);
      // Of five seconds: nothing is left of them, whereas ten minutes are not over.
      await Bun.sleep(5600);
      const map = network.run("node", ["nft", "list", "map", "inet", "weft-services", `affinity${family}`]);
      expect(map).not.toContain(at(1));
      expect(map).toContain("timeout 10m");
    }, 120_000);

    test("source ranges: others are dropped, whatever there is behind", async () => {
      const only = (place: Place) => [`${ip(place)}/${family === 4 ? 32 : 128}` as Prefix];
      const wide = (family === 4 ? "10.0.0.0/8" : "fd00::/16") as Prefix;
      const one = (n: number, sources: Prefix[], more: FrontendOptions = {}) =>
        frontend({ family, address: at(n), backends: backends(family, "a"), sources, ...more });
      await have(
        one(1, only("client")),
        one(2, only("b")),
        one(3, [...only("client"), wide, ...only("b")]),
        one(4, []),
        one(5, only("client"), { action: "reject", backends: [] }),
        one(6, only("b"), { address: "node", port: 30_080 }),
        one(7, only("client"), { address: "node", port: 30_081, scope: "outside" }),
        one(8, []),
        one(8, only("client"), { scope: "outside" }),
      );
      const outcome = async (from: Place, to: Dial): Promise<string> =>
        (await ask(from, to)).split(" ")[0] as string;
      const silence = (from: Place, to: Dial): Promise<string> =>
        outcome(from, { ...to, timeoutMs: SILENCE_MS });
      const service = (n: number) => ({ ip: at(n), port: 80 });
      const nodePort = (port: number) => ({ ip: ip("node"), port });
      expect({
        permitted: await outcome("client", service(1)),
        other: await silence("b", service(1)),
        podAlone: await outcome("b", service(2)),
        notClient: await silence("client", service(2)),
        nested: [await outcome("client", service(3)), await outcome("b", service(3))],
        nobody: [await silence("client", service(4)), await silence("a", service(4))],
        rejected: [await outcome("client", service(5)), await silence("b", service(5))],
        nodePort: [await silence("client", nodePort(30_080)), await outcome("b", nodePort(30_080))],
        outsideNodePort: await outcome("client", nodePort(30_081)),
        outsideOnly: [await outcome("client", service(8)), await silence("b", service(8))],
      }).toEqual({
        permitted: "a",
        other: "timeout",
        podAlone: "a",
        notClient: "timeout",
        nested: ["a", "a"],
        nobody: ["timeout", "timeout"],
        rejected: ["ECONNREFUSED", "timeout"],
        nodePort: ["timeout", "a"],
        outsideNodePort: "a",
        outsideOnly: ["a", "timeout"],
      });
    });

    test("node ports and what is for outside sources only", async () => {
      const nodePort = { family, address: "node", port: 30_080 } as const;
      const local = backends(family, "b");
      await have(
        frontend({ ...nodePort, backends: backends(family, "a") }),
        frontend({ ...nodePort, scope: "outside", backends: local, masquerade: "never" }),
        frontend({ ...nodePort, port: 30_081, backends: backends(family, "a") }),
        frontend({ ...nodePort, port: 30_081, scope: "outside", action: "drop" }),
        frontend({ ...nodePort, port: 30_082, action: "reject" }),
        frontend({ ...nodePort, port: 30_082, scope: "outside", backends: local, masquerade: "never" }),
        // An address of its own goes before a node port of the same number.
        frontend({ family, address: ip("node"), port: 30_083, backends: backends(family, "b") }),
        frontend({ ...nodePort, port: 30_083, scope: "outside", backends: backends(family, "a") }),
      );
      const to = (port: number) => ({ ip: ip("node"), port });
      expect({
        outsideKeepsItsAddress: await ask("client", to(30_080)),
        pod: await ask("b", to(30_080)),
        node: await ask("node", to(30_080)),
        droppedOutside: await ask("client", { ...to(30_081), timeoutMs: SILENCE_MS }),
        podIsNot: await ask("b", to(30_081)),
        nodeIsNot: await ask("node", to(30_081)),
        rejectedInside: [await ask("a", to(30_082)), await ask("node", to(30_082))],
        openOutside: await ask("client", to(30_082)),
        specific: await ask("client", to(30_083)),
        noNodePort: await ask("client", { ip: ip("b"), port: 30_080 }),
      }).toEqual({
        outsideKeepsItsAddress: `b from ${ip("client")}`,
        pod: `a from ${ip("b")}`,
        node: `a from ${ip("node")}`,
        droppedOutside: "timeout",
        podIsNot: `a from ${ip("b")}`,
        nodeIsNot: `a from ${ip("node")}`,
        rejectedInside: ["ECONNREFUSED", "ECONNREFUSED"],
        openOutside: `b from ${ip("client")}`,
        specific: `b from ${ip("node")}`,
        noNodePort: "ECONNREFUSED",
      });
    });

    test("a backend that is the node itself", async () => {
      await have(frontend({ family, address: at(1), backends: backends(family, "node") }));
      const to = { ip: at(1), port: 80 };
      expect([await ask("a", to), await ask("node", to), await ask("client", to)]).toEqual([
        `node from ${ip("a")}`,
        `node from ${ip("node")}`,
        `node from ${ip("client")}`,
      ]);
    });

    test("datagrams in fragments", async () => {
      await have(frontend({ family, address: at(1), protocol: "udp", backends: backends(family, "a") }));
      expect(await ask("client", { ip: at(1), port: 80, protocol: "udp", size: 4000 })).toBe(
        `a from ${ip("node")}`,
      );
      expect(await ask("b", { ip: at(1), port: 80, protocol: "udp", size: 4000 })).toBe(`a from ${ip("b")}`);
    });

    test("a connection goes on when its service is gone", async () => {
      await have(frontend({ family, address: at(1), backends: backends(family, "a") }));
      const { fd } = await hold(network.handle("client"), network.servers, { ip: at(1), port: 80 });
      try {
        await have();
        sendBytes(fd, Buffer.from("still here?"));
        expect(await hear(fd, network.servers)).toBe(`a from ${ip("node")}`);
      } finally {
        closeFd(fd);
      }
      expect(await ask("client", { ip: at(1), port: 80 })).toBe("ECONNREFUSED");
    });

    test("what connection tracking calls invalid gets no further", async () => {
      await have(frontend({ family, address: at(1), backends: backends(family, "a"), masquerade: "never" }));
      const { fd, port } = await hold(network.handle("client"), network.servers, { ip: at(1), port: 80 });
      const heard = overhear(network.handle("client"), family);
      try {
        const dropped = (): number =>
          [
            ...network
              .run("node", ["nft", "list", "chain", "inet", "weft-services", "invalid"])
              .matchAll(/packets (\d+)/g),
          ]
            .map((m) => Number(m[1]))
            .reduce((a, b) => a + b, 0);
        const before = dropped();
        heard.from();
        // Of the server: untranslated they would come from the pod's address, and end the connection. One may be lost.
        for (let tries = 0; tries < 1000 && dropped() === before; tries++) {
          if (tries % 50 === 0)
            sendStray(network.handle("a"), { ip: ip("a"), port: 8080 }, { ip: ip("client"), port });
          await Bun.sleep(20);
        }
        expect(dropped()).toBeGreaterThan(before);
        expect(heard.from()).not.toContain(ip("a"));
        expect(takeFault(fd)).toBeUndefined();
      } finally {
        heard.close();
        closeFd(fd);
      }
    });

    test("a drop of somebody else's table stands", async () => {
      await have(frontend({ family, address: at(1), backends: backends(family, "a") }));
      await network.nft.run(`table inet others { chain forward { type filter hook forward priority 20;
        tcp dport 8080 counter drop
      }
      }`);
      try {
        expect(await ask("client", { ip: at(1), port: 80, timeoutMs: SILENCE_MS })).toBe("timeout");
      } finally {
        await network.nft.run("delete table inet others");
      }
      expect(await ask("client", { ip: at(1), port: 80 })).toBe(`a from ${ip("node")}`);
    });
  });
}
