/** What every Conntrack does, as one suite: the real one and the in-memory one both pass it. */
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { type Family, type IpAddress, isInvalid, type Prefix } from "@weft/base";
import {
  type Conntrack,
  FLOW_STATUS,
  type Flow,
  type FlowFilter,
  IP_PROTOCOL,
  TCP_FLOW_STATE,
} from "../port.ts";
import { describeFlow } from "./flow.ts";
import { type FlowSpec, flowOf } from "./testing.ts";

export interface ConformanceConntrack {
  readonly conntrack: Conntrack;
  /** Makes flows as packets do. */
  add(specs: readonly FlowSpec[]): void;
  cleanup(): void;
}

const FAMILIES = {
  4: { client: "10.0.0.", frontend: "10.96.0.10", other: "10.96.0.11", a: "10.244.0.1", b: "10.244.0.2" },
  6: { client: "fd00::", frontend: "fd96::10", other: "fd96::11", a: "fd44::1", b: "fd44::2" },
} as const;
const PROTOCOLS = ["tcp", "udp", "sctp"] as const;
const ip = (text: string): IpAddress => text as IpAddress;

/** Flows of one family and protocol: two to each of two backends, one untranslated, some that are beside each. */
function specsOf(family: Family, protocol: FlowSpec["protocol"]): FlowSpec[] {
  const { client, frontend, other, a, b } = FAMILIES[family];
  const flow = (n: number, destination: string, destinationPort: number, backend?: string, port = 5353) => ({
    protocol,
    source: `${client}${n}`,
    sourcePort: 1000 + n,
    destination,
    destinationPort,
    ...(backend === undefined ? {} : { backend: { ip: backend, port } }),
  });
  return [
    flow(1, frontend, 53, a),
    flow(2, frontend, 53, a),
    { ...flow(3, frontend, 53, b), replied: true },
    flow(4, frontend, 53),
    { ...flow(5, frontend, 54, a), ...(protocol === "tcp" ? { tcpState: TCP_FLOW_STATE.timeWait } : {}) },
    flow(6, frontend, 53, a, 5354),
    flow(7, other, 53, a),
    flow(8, a, 5353),
  ];
}

const ALL = ([4, 6] as const).flatMap((family) => PROTOCOLS.flatMap((name) => specsOf(family, name)));

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  return expect.unreachable("nothing was thrown");
}

export function conntrackConformance(name: string, make: () => ConformanceConntrack): void {
  describe(`${name} as connection tracking`, () => {
    const made = make();
    const ct = made.conntrack;
    afterAll(() => made.cleanup());

    /** Clients, by the last digit, of all flows of a family and protocol. */
    const left = async (family: Family, protocol: number): Promise<number[]> => {
      const flows = await ct.list({ family, protocol });
      return flows.map((f) => Number(f.original.source.slice(-1))).sort();
    };
    const everything = async (): Promise<string[]> => {
      const lists = await Promise.all([ct.list({ family: 4 }), ct.list({ family: 6 })]);
      return lists.flat().map(describeFlow).sort();
    };

    beforeEach(async () => {
      for (const family of [4, 6] as const) await ct.remove(await ct.list({ family }));
      made.add(ALL);
    });

    test("lists what there is", async () => {
      const { a, b, frontend } = FAMILIES[4];
      const flows = await ct.list({ family: 4, protocol: IP_PROTOCOL.udp });
      const shown = (f: Flow) => [
        f.original,
        f.reply,
        f.status & (FLOW_STATUS.destinationNat | FLOW_STATUS.seenReply | 8),
        f.mark,
      ];
      const wanted = specsOf(4, "udp").map((spec) => {
        const { original, reply, status, mark } = flowOf(spec);
        return [original, reply, status, mark] as const;
      });
      const bySource = (x: readonly unknown[], y: readonly unknown[]) =>
        `${JSON.stringify(x)}` < JSON.stringify(y) ? -1 : 1;
      expect(flows.map(shown).sort(bySource)).toEqual(wanted.map((x) => [...x]).sort(bySource));
      expect(new Set(flows.map((f) => f.id)).size).toBe(flows.length);
      expect(flows.every((f) => f.timeout > 0 && f.timeout <= 600)).toBe(true);
      expect([a, b, frontend].every((x) => flows.some((f) => f.reply.source === x))).toBe(true);
      expect(await ct.list({ family: 4, protocol: IP_PROTOCOL.icmp })).toEqual([]);
    });

    for (const family of [4, 6] as const) {
      for (const protocolName of PROTOCOLS) {
        const protocol = IP_PROTOCOL[protocolName];
        const { frontend, a, b, client } = FAMILIES[family];
        const to = { destination: ip(frontend), destinationPort: 53 };
        const cases: [string, FlowFilter, number[]][] = [
          ["a frontend", { family, protocol, original: to }, [1, 2, 3, 4, 6]],
          [
            "a frontend's address",
            { family, protocol, original: { destination: ip(frontend) } },
            [1, 2, 3, 4, 5, 6],
          ],
          ["a frontend's port on any address", { family, protocol, original: { destinationPort: 54 } }, [5]],
          ["a backend", { family, protocol, reply: { source: ip(a), sourcePort: 5353 } }, [1, 2, 5, 7, 8]],
          [
            "a backend of a frontend",
            { family, protocol, original: to, reply: { source: ip(a), sourcePort: 5353 } },
            [1, 2],
          ],
          [
            "another backend",
            { family, protocol, original: to, reply: { source: ip(b), sourcePort: 5353 } },
            [3],
          ],
          ["what is untranslated", { family, protocol, original: to, translated: false }, [4]],
          [
            "what answers for itself",
            { family, protocol, original: to, reply: { source: ip(frontend) } },
            [4],
          ],
          ["what has no reply yet", { family, protocol, original: to, replied: false }, [1, 2, 4, 6]],
          ["what has been answered", { family, protocol, original: to, replied: true }, [3]],
          [
            "what has ended",
            { family, protocol, original: { destination: ip(frontend) }, ended: true },
            protocolName === "tcp" ? [5] : [],
          ],
          ["what is translated", { family, protocol, original: to, translated: true }, [1, 2, 3, 6]],
          ["a client", { family, protocol, original: { source: ip(`${client}7`), sourcePort: 1007 } }, [7]],
          ["replies to a client", { family, protocol, reply: { destination: ip(`${client}7`) } }, [7]],
          [
            "clients of a range",
            {
              family,
              protocol,
              original: to,
              from: { inside: true, prefixes: [`${client}2/${family === 4 ? 31 : 127}` as Prefix] },
            },
            [2, 3],
          ],
          [
            "clients outside of a range",
            {
              family,
              protocol,
              original: to,
              from: { inside: false, prefixes: [`${client}2/${family === 4 ? 31 : 127}` as Prefix] },
            },
            [1, 4, 6],
          ],
          ["nothing", { family, protocol, original: { destination: ip(`${client}99`) } }, []],
        ];
        test.each(cases)(
          `IPv${family} ${protocolName}: flushes %s and nothing else`,
          async (_, filter, numbers) => {
            const before = await everything();
            expect(await ct.count([filter])).toEqual([numbers.length]);
            expect((await ct.list(filter)).map((f) => Number(f.original.source.slice(-1))).sort()).toEqual(
              numbers,
            );
            expect(await ct.flush([filter])).toEqual([numbers.length]);
            expect(await left(family, protocol)).toEqual(
              [1, 2, 3, 4, 5, 6, 7, 8].filter((n) => !numbers.includes(n)),
            );
            expect((await everything()).length).toBe(before.length - numbers.length);
            expect(await ct.flush([filter])).toEqual([0]);
          },
        );
      }
    }

    test("many filters at once, of which a flow counts for the first", async () => {
      const filters: FlowFilter[] = Array.from({ length: 600 }, (_, i) => ({
        family: i % 2 === 0 ? 4 : 6,
        protocol: IP_PROTOCOL.udp,
        original: { destination: ip(i % 2 === 0 ? "10.99.0.1" : "fd99::1"), destinationPort: i },
      }));
      const to = (family: Family, backend: string): FlowFilter => ({
        family,
        protocol: IP_PROTOCOL.udp,
        original: { destination: ip(FAMILIES[family].frontend), destinationPort: 53 },
        reply: { source: ip(backend), sourcePort: 5353 },
      });
      const a4 = to(4, FAMILIES[4].a);
      filters.push(a4, to(6, FAMILIES[6].b), { ...a4, reply: {} });
      expect((await ct.count(filters)).slice(-3)).toEqual([2, 1, 5]);
      const counts = await ct.flush(filters);
      expect(counts.slice(-3)).toEqual([2, 1, 3]);
      expect(counts.slice(0, -3).every((n) => n === 0)).toBe(true);
      expect(await left(4, IP_PROTOCOL.udp)).toEqual([5, 7, 8]);
      expect(await left(6, IP_PROTOCOL.udp)).toEqual([1, 2, 4, 5, 6, 7, 8]);
      expect(await left(4, IP_PROTOCOL.tcp)).toHaveLength(8);
    });

    test("removes very flows, each once", async () => {
      const flows = await ct.list({
        family: 6,
        protocol: IP_PROTOCOL.sctp,
        original: { destinationPort: 54 },
      });
      const gone = flows.map((flow) => ({ ...flow, id: (flow.id + 1) >>> 0 }));
      expect(flows).toHaveLength(1);
      expect(await ct.remove(gone.map((f) => ({ ...f, id: 0xfffffff0 })))).toBe(0);
      expect(await ct.remove(flows)).toBe(1);
      expect(await ct.remove(flows)).toBe(0);
      expect(await ct.remove([])).toBe(0);
    });

    test("calls at once wait for each other", async () => {
      const filter: FlowFilter = { family: 4, protocol: IP_PROTOCOL.udp, original: { destinationPort: 53 } };
      const results = await Promise.all([
        ct.flush([filter]),
        ct.flush([filter]),
        ct.count([filter]),
        ct.list(filter),
      ]);
      expect(results.slice(0, 2).flat().sort()).toEqual([0, 6]);
      expect(results.slice(2)).toEqual([[0], []]);
    });

    test("no filters", async () => {
      expect(await ct.flush([])).toEqual([]);
      expect(await ct.count([])).toEqual([]);
    });

    const bad: [string, FlowFilter][] = [
      ["names no address and no port", { family: 4 }],
      ["names only a protocol", { family: 4, protocol: IP_PROTOCOL.udp, translated: true }],
      ["has a port without a protocol", { family: 4, original: { destinationPort: 53 } }],
      ["mixes families", { family: 4, original: { destination: ip("fd00::1") } }],
      ["has an address that is none", { family: 4, original: { destination: ip("10.0.0.300") } }],
      ["has a port that is none", { family: 4, protocol: 17, original: { destinationPort: 65536 } }],
      [
        "has a protocol that is none",
        { family: 4, protocol: 256, original: { destination: ip("10.0.0.1") } },
      ],
    ];
    test.each(bad)("refuses to flush by a filter that %s", async (_, filter) => {
      const before = await everything();
      const good: FlowFilter = { family: 4, protocol: 17, original: { destinationPort: 53 } };
      expect(isInvalid(await rejection(ct.flush([good, filter])))).toBe(true);
      expect(await everything()).toEqual(before);
    });
  });
}
