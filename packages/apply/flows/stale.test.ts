import { describe, expect, test } from "bun:test";
import type { IpAddress } from "@weft/base";
import { describeFilter } from "@weft/kernel/conntrack";
import { FakeConntrack } from "@weft/kernel/fake";
import { FLOW_STATUS, type Flow, type FlowTuple, IP_PROTOCOL } from "@weft/kernel/port";
import type { Backend, FrontendRow, Transport } from "@weft/model";
import fc from "fast-check";
import { backendsOf, type Frontend, rowFor, staleFlows } from "./stale.ts";
import { strayFlows } from "./stray.ts";
import { backend, context, frontend, row } from "./testing.ts";

const A = "10.244.0.1:5353";
const B = "10.244.0.2:5353";
const C = "10.244.1.1:5353";
const out = (backends: string[], action?: FrontendRow["action"]): FrontendRow =>
  row(backends, { scope: "outside", ...(action === undefined ? {} : { action }) });

const UDP = "IPv4 protocol 17 to 10.96.0.10:53";
const TCP = "IPv4 protocol 6 to 10.96.0.10:53";
const INSIDE = "from 10.244.0.0/24,192.0.2.1/32,fd44::/64";
const OUTSIDE = "from outside 10.244.0.0/24,192.0.2.1/32,fd44::/64";

/** Filters of a change, in words. */
function stale(
  before: Frontend,
  after: Frontend,
  change: Parameters<typeof context>[0] = {},
  interrupted = false,
): string[] {
  const some = before.any ?? before.outside ?? after.any ?? after.outside;
  if (some === undefined) throw new Error("no row at all");
  return staleFlows(some.match, before, after, context(change), interrupted).map(describeFilter);
}

describe("flows that a change leaves stale", () => {
  const tcp = (...backends: string[]): Frontend => frontend(row(backends, { protocol: "tcp" }));
  const udp = (...backends: string[]): Frontend => frontend(row(backends));
  const none = frontend();
  const drop = frontend(row([], { action: "drop" }));
  const cases: [string, string[], string[]][] = [
    ["nothing changed", stale(udp(A, B), udp(A, B)), []],
    ["a backend came", stale(udp(A), udp(A, B)), []],
    ["a backend left", stale(udp(A, B), udp(A)), [`${UDP} replies from ${B} translated`]],
    ["one for another", stale(udp(A), udp(B)), [`${UDP} replies from ${A} translated`]],
    ["the last backend left", stale(udp(A, B), udp()), [`${UDP} translated`]],
    ["policy keeps all from here", stale(udp(A), drop), [`${UDP} translated`]],
    ["the frontend went", stale(udp(A, B), none), [`${UDP} translated`]],
    ["a frontend without backends went", stale(udp(), none), []],
    ["a frontend without backends came", stale(none, udp()), []],
    ["a frontend came", stale(none, udp(A)), [`${UDP} untranslated`]],
    ["the first backend came", stale(udp(), udp(A)), [`${UDP} untranslated`]],
    ["policy lets one in", stale(drop, udp(A)), [`${UDP} untranslated`]],
    ["refused in another way", stale(udp(), drop), []],
    ["nothing for a while", stale(udp(A), udp(A), {}, true), [`${UDP} untranslated`]],
    ["nothing, and for a while", stale(udp(A), udp(), {}, true), [`${UDP} translated`]],
    ["TCP: a backend left", stale(tcp(A, B), tcp(A)), []],
    [
      "TCP to be reset: a backend left",
      stale(tcp(A, B), tcp(A), { resetConnections: true }),
      [`${TCP} replies from ${B} translated`],
    ],
    [
      "TCP to be reset: the frontend went",
      stale(tcp(A), none, { resetConnections: true }),
      [`${TCP} translated`],
    ],
    ["TCP: the first backend came", stale(tcp(), tcp(A)), [`${TCP} untranslated unreplied`]],
    [
      "a draining backend left",
      stale(udp(A, B), udp(), { draining: (_, { ip }) => ip === "10.244.0.1" }),
      [`${UDP} replies from ${B} translated`],
    ],
    [
      "SCTP, IPv6",
      stale(
        frontend(row(["[fd44::1]:80"], { address: "fd96::1", protocol: "sctp" })),
        frontend(row(["[fd44::2]:80"], { address: "fd96::1", protocol: "sctp" })),
      ),
      ["IPv6 protocol 132 to [fd96::1]:53 replies from [fd44::1]:80 translated"],
    ],
    [
      "a node port, on each address of the family",
      stale(
        frontend(row([A], { address: "node", port: 30053 })),
        frontend(row([B], { address: "node", port: 30053 })),
      ),
      [
        `IPv4 protocol 17 to 192.0.2.1:30053 replies from ${A} translated`,
        `IPv4 protocol 17 to 192.0.2.2:30053 replies from ${A} translated`,
      ],
    ],
    [
      "a node port of IPv6",
      stale(frontend(row(["[fd44::1]:80"], { address: "node", family: 6, port: 30053 })), none),
      ["IPv6 protocol 17 to [fd02::1]:30053 translated"],
    ],
    [
      "a backend left for those outside",
      stale(frontend(row([A, C]), out([A])), frontend(row([A, C]), out([], "drop"))),
      [`${UDP} translated ${OUTSIDE}`],
    ],
    [
      "a backend left for those inside",
      stale(frontend(row([A, C]), out([A])), frontend(row([A]), out([A]))),
      [`${UDP} replies from ${C} translated ${INSIDE}`],
    ],
    [
      "a backend left for both",
      stale(frontend(row([A, C]), out([A])), frontend(row([C]), out([C]))),
      [`${UDP} replies from ${A} translated`],
    ],
    [
      "those outside are kept to local backends from now on",
      stale(udp(A, C), frontend(row([A, C]), out([A]))),
      [`${UDP} replies from ${C} translated ${OUTSIDE}`],
    ],
    ["and not any more", stale(frontend(row([A, C]), out([A])), udp(A, C)), []],
  ];
  test.each(cases)("%s", (_, filters, expected) => {
    expect(filters).toEqual(expected);
  });
});

const CLIENTS = { inside: "10.244.0.99", outside: "203.0.113.7" } as const;
const SIDES = ["inside", "outside"] as const;

let id = 0;
function flow(
  protocol: Transport,
  source: string,
  to: Backend,
  via: Backend | undefined,
  replied = true,
): Flow {
  id++;
  const tuple = (from: string, fromPort: number, dest: string, destPort: number): FlowTuple => ({
    source: from as IpAddress,
    sourcePort: fromPort,
    destination: dest as IpAddress,
    destinationPort: destPort,
    icmp: undefined,
  });
  const end = via ?? to;
  return {
    family: 4,
    protocol: IP_PROTOCOL[protocol],
    original: tuple(source, 1000 + id, to.ip, to.port),
    reply: tuple(end.ip, end.port, source, 1000 + id),
    status: 8 | (via === undefined ? 0 : FLOW_STATUS.destinationNat) | (replied ? FLOW_STATUS.seenReply : 0),
    timeout: 100,
    tcpState: undefined,
    mark: 0,
    zone: 0,
    id,
    packets: undefined,
    bytes: undefined,
  };
}

const arbitraryRow = (scope: "any" | "outside", protocol: Transport): fc.Arbitrary<FrontendRow | undefined> =>
  fc.option(
    fc.subarray([A, B, C]).map((backends) => row(backends, { scope, protocol })),
    { nil: undefined, freq: 4 },
  );
const arbitraryFrontend = (protocol: Transport): fc.Arbitrary<Frontend> =>
  fc.record({ any: arbitraryRow("any", protocol), outside: arbitraryRow("outside", protocol) });

test("after any change, no flow leads elsewhere than the frontend, and all that did not are there still", async () => {
  const changes = fc.constantFrom<Transport>("udp", "tcp", "sctp").chain((protocol) =>
    fc.record({
      protocol: fc.constant(protocol),
      before: arbitraryFrontend(protocol),
      after: arbitraryFrontend(protocol),
      resetConnections: fc.boolean(),
    }),
  );
  await fc.assert(
    fc.asyncProperty(changes, async ({ protocol, before, after, resetConnections }) => {
      const ct = new FakeConntrack("self");
      const { match } = row([], { protocol });
      const to = { ip: match.address as IpAddress, port: match.port };
      for (const side of SIDES) {
        const served = backendsOf(rowFor(side, before));
        for (const via of served) ct.add(flow(protocol, CLIENTS[side], to, via));
        if (served.length === 0) ct.add(flow(protocol, CLIENTS[side], to, undefined, false));
        // Beside it: another port, another protocol, another address, straight to a backend, TCP that lives untranslated.
        ct.add(flow(protocol, CLIENTS[side], { ...to, port: 54 }, backend(A)));
        ct.add(flow(protocol === "udp" ? "tcp" : "udp", CLIENTS[side], to, backend(A)));
        ct.add(flow(protocol, CLIENTS[side], { ...to, ip: "10.96.0.11" as IpAddress }, backend(A)));
        ct.add(flow(protocol, CLIENTS[side], backend(A), undefined));
        if (protocol === "tcp") ct.add(flow(protocol, CLIENTS[side], to, undefined));
      }
      const all = await ct.list({ family: 4 });
      const isRight = (f: Flow): boolean => {
        if (
          f.protocol !== IP_PROTOCOL[protocol] ||
          f.original.destination !== to.ip ||
          f.original.destinationPort !== 53
        )
          return true;
        const served = backendsOf(rowFor(f.original.source === CLIENTS.inside ? "inside" : "outside", after));
        const translated = (f.status & FLOW_STATUS.destinationNat) !== 0;
        if (!translated)
          return served.length === 0 || (protocol === "tcp" && (f.status & FLOW_STATUS.seenReply) !== 0);
        if (protocol === "tcp" && !resetConnections) return true;
        return served.some(({ ip, port }) => ip === f.reply.source && port === f.reply.sourcePort);
      };
      const change = context({ resetConnections });
      await ct.flush(staleFlows(match, before, after, change));
      const left = await ct.list({ family: 4 });
      expect(left.map((f) => f.id)).toEqual(all.filter(isRight).map((f) => f.id));
      // What a look at all flows finds is the same, but for frontends that are none any more.
      const known = SIDES.every((side) => rowFor(side, after) !== undefined);
      const stray = new Set(strayFlows(all, [{ match, frontend: after }], change).map((f) => f.id));
      if (known) expect(all.filter((f) => !stray.has(f.id)).map((f) => f.id)).toEqual(left.map((f) => f.id));
      expect(strayFlows(left, [{ match, frontend: after }], change)).toEqual([]);
    }),
  );
});
