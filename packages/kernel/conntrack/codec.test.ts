import { describe, expect, test } from "bun:test";
import { type Family, type IpAddress, ipFromBytes, isInvalid, type Prefix, WeftError } from "@weft/base";
import fc from "fast-check";
import { Attributes, NetlinkWriter, readMessages } from "../netlink/index.ts";
import { FLOW_STATUS, type Flow, type FlowFilter, type FlowTuple, IP_PROTOCOL } from "../port.ts";
import {
  CTA_COUNTERS_BYTES,
  CTA_COUNTERS_ORIG,
  CTA_COUNTERS_PACKETS,
  CTA_COUNTERS_REPLY,
  CTA_FILTER,
  CTA_FILTER_ORIG_FLAGS,
  CTA_FILTER_REPLY_FLAGS,
  CTA_ID,
  CTA_MARK,
  CTA_PROTOINFO,
  CTA_PROTOINFO_TCP,
  CTA_PROTOINFO_TCP_STATE,
  CTA_STATUS,
  CTA_TIMEOUT,
  CTA_TUPLE_ORIG,
  CTA_TUPLE_REPLY,
  CTA_ZONE,
} from "./constants.ts";
import { checkFilter, describeFilter, FilterIndex, matches } from "./filter.ts";
import { nfgenmsg, readFlow, writeRemoval } from "./flow.ts";
import { dumpRequest, MAX_DUMPS, queriesOf } from "./query.ts";
import { writeTuple } from "./tuple.ts";

const bytes = (hex: string): Uint8Array => Uint8Array.fromHex(hex.replace(/\s/g, ""));

const arbitraryIp = (family: Family): fc.Arbitrary<IpAddress> =>
  fc.uint8Array({ minLength: family === 4 ? 4 : 16, maxLength: family === 4 ? 4 : 16 }).map((b) => {
    // An IPv4-mapped address is no address here.
    if (family === 6) b[0] = 0xfd;
    return ipFromBytes(b);
  });
const port = fc.integer({ min: 0, max: 65535 });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u64 = fc.bigInt({ min: 0n, max: 0xffffffffffffffffn });

const tupleOf = (family: Family, icmp: boolean): fc.Arbitrary<FlowTuple> =>
  fc.record({
    source: arbitraryIp(family),
    destination: arbitraryIp(family),
    sourcePort: icmp ? fc.constant(undefined) : port,
    destinationPort: icmp ? fc.constant(undefined) : port,
    icmp: icmp
      ? fc.record({ type: fc.nat(255), code: fc.nat(255), id: port })
      : fc.constant<FlowTuple["icmp"]>(undefined),
  });
const counters = fc.option(fc.record({ original: u64, reply: u64 }), { nil: undefined });
const arbitraryFlow: fc.Arbitrary<Flow> = fc
  .tuple(fc.constantFrom<Family>(4, 6), fc.constantFrom(6, 17, 132, 33, 0))
  .chain(([family, number]) => {
    const icmp = number === 0;
    const protocol = icmp ? (family === 4 ? IP_PROTOCOL.icmp : IP_PROTOCOL.icmpv6) : number;
    return fc.record({
      family: fc.constant(family),
      protocol: fc.constant(protocol),
      original: tupleOf(family, icmp),
      reply: tupleOf(family, icmp),
      status: u32,
      timeout: u32,
      tcpState: protocol === 6 ? fc.nat(9) : fc.constant(undefined),
      mark: u32,
      zone: port,
      id: u32,
      packets: counters,
      bytes: counters,
    });
  });

/** A flow as the kernel writes it. */
function written(flow: Flow): Uint8Array {
  const writer = new NetlinkWriter().begin(0x100, 0).raw(nfgenmsg(flow.family));
  writeTuple(writer, CTA_TUPLE_ORIG, flow.family, { ...flow.original, protocol: flow.protocol });
  writeTuple(writer, CTA_TUPLE_REPLY, flow.family, { ...flow.reply, protocol: flow.protocol });
  writer.u32Be(CTA_STATUS, flow.status).u32Be(CTA_TIMEOUT, flow.timeout).u32Be(CTA_MARK, flow.mark);
  writer.u32Be(CTA_ID, flow.id).u16Be(CTA_ZONE, flow.zone);
  const { tcpState } = flow;
  if (tcpState !== undefined)
    writer.nest(CTA_PROTOINFO, (w) =>
      w.nest(CTA_PROTOINFO_TCP, (tcp) => tcp.u8(CTA_PROTOINFO_TCP_STATE, tcpState)),
    );
  for (const [type, direction] of [
    [CTA_COUNTERS_ORIG, "original"],
    [CTA_COUNTERS_REPLY, "reply"],
  ] as const)
    writer.nest(type, (w) => {
      if (flow.packets !== undefined) w.u64Be(CTA_COUNTERS_PACKETS, flow.packets[direction]);
      if (flow.bytes !== undefined) w.u64Be(CTA_COUNTERS_BYTES, flow.bytes[direction]);
    });
  return readMessages(writer.finish())[0]?.payload ?? new Uint8Array();
}

test("flows round-trip", () => {
  fc.assert(
    fc.property(arbitraryFlow, (flow) => {
      expect(readFlow({ payload: written(flow) })).toEqual(flow);
    }),
  );
});

test("a removal names the flow by the original tuple, id and zone", () => {
  fc.assert(
    fc.property(arbitraryFlow, (flow) => {
      const writer = new NetlinkWriter();
      writeRemoval(writer, flow);
      const [message] = readMessages(writer.finish());
      expect([message?.type, message?.payload[0]]).toEqual([0x102, flow.family === 4 ? 2 : 10]);
      const a = new Attributes(message?.payload ?? new Uint8Array(), 4);
      expect([a.u32Be(CTA_ID), a.u16Be(CTA_ZONE) ?? 0, a.has(CTA_TUPLE_REPLY)]).toEqual([
        flow.id,
        flow.zone,
        false,
      ]);
      const whole = new Attributes(written(flow), 4);
      expect(a.bytes(CTA_TUPLE_ORIG)?.toHex()).toBe(whole.bytes(CTA_TUPLE_ORIG)?.toHex());
    }),
  );
});

test("the bytes of a narrowed dump, laid out by hand", () => {
  const request = dumpRequest(
    {
      family: 4,
      protocol: IP_PROTOCOL.udp,
      original: { destination: "10.96.0.10" as IpAddress, destinationPort: 53 },
      reply: { source: "10.244.0.1" as IpAddress },
      translated: true,
    },
    { original: true, reply: true },
  );
  const expected = bytes(`
    70000000 0101 0100 00000000 00000000  02 00 0000
    2400 0180  0c00 0180 0800 0200 0a60000a  1400 0280 0500 0100 11000000 0600 0300 0035 0000
    1c00 0280  0c00 0180 0800 0100 0af40001  0c00 0280 0500 0100 11000000
    1400 1980  0800 0100 2a000000 0800 0200 09000000
    0800 0300 00000020`);
  expect(request.toHex()).toBe(expected.toHex());
});

describe("what is left to the kernel", () => {
  const flagsOf = (filter: FlowFilter, narrowing = { original: true, reply: true }) => {
    const a = new Attributes(readMessages(dumpRequest(filter, narrowing))[0]?.payload ?? new Uint8Array(), 4);
    const flags = a.nested(CTA_FILTER);
    return [flags?.u32(CTA_FILTER_ORIG_FLAGS) ?? 0, flags?.u32(CTA_FILTER_REPLY_FLAGS) ?? 0];
  };
  const to = (ip: string, protocol: number): FlowFilter => ({
    family: ip.includes(":") ? 6 : 4,
    protocol,
    original: { destination: ip as IpAddress, destinationPort: 53 },
    reply: { source: ip as IpAddress, sourcePort: 53 },
  });
  test("addresses of IPv4, ports of TCP and UDP", () => {
    expect(flagsOf(to("10.0.0.1", 17))).toEqual([0b101010, 0b011001]);
    expect(flagsOf(to("10.0.0.1", 6))).toEqual([0b101010, 0b011001]);
    expect(flagsOf(to("10.0.0.1", 132))).toEqual([0b001010, 0b001001]);
    expect(flagsOf(to("fd00::1", 17))).toEqual([0b101000, 0b011000]);
    expect(flagsOf(to("fd00::1", 132))).toEqual([0b001000, 0]);
    expect(flagsOf({ family: 6 })).toEqual([0, 0]);
  });
  test("nothing of what it cannot do", () => {
    expect(flagsOf(to("10.0.0.1", 17), { original: true, reply: false })).toEqual([0b101010, 0]);
    expect(flagsOf(to("10.0.0.1", 17), { original: false, reply: false })).toEqual([0, 0]);
  });
  test("many filters are one dump of each protocol", () => {
    const some = Array.from({ length: MAX_DUMPS }, (_, i) => to(`10.0.0.${i}`, 17));
    expect(queriesOf([...some, ...some])).toEqual(some);
    const more = [...some, to("10.0.0.99", 17)];
    expect(queriesOf([...more, to("10.0.0.1", 132)])).toEqual([
      { family: 4, protocol: 17 },
      to("10.0.0.1", 132),
    ]);
    const translated = more.map((filter) => ({ ...filter, translated: true }));
    expect(queriesOf(translated)).toEqual([{ family: 4, protocol: 17, translated: true }]);
    expect(queriesOf([...translated, to("10.0.0.1", 17)])).toEqual([{ family: 4, protocol: 17 }]);
    expect(queriesOf([])).toEqual([]);
  });
});

/** Few values, so that filters and flows meet. */
const smallIp = (family: Family): fc.Arbitrary<IpAddress> =>
  fc.constantFrom("1", "2").map((n) => (family === 4 ? `10.0.0.${n}` : `fd00::${n}`) as IpAddress);
const smallPort = fc.constantFrom(1, 2);
const smallFlow = fc.constantFrom<Family>(4, 6).chain((family) => {
  const tuple = fc.record({
    source: smallIp(family),
    destination: smallIp(family),
    sourcePort: smallPort,
    destinationPort: smallPort,
    icmp: fc.constant<FlowTuple["icmp"]>(undefined),
  });
  return fc.record({
    family: fc.constant(family),
    protocol: fc.constantFrom(6, 17),
    original: tuple,
    reply: tuple,
    status: fc.constantFrom(0, FLOW_STATUS.destinationNat, FLOW_STATUS.seenReply),
    tcpState: fc.constantFrom(undefined, 3, 7),
  });
});
const smallFilter = fc.constantFrom<Family>(4, 6).chain((family) => {
  const tuple = fc.record(
    {
      source: smallIp(family),
      destination: smallIp(family),
      sourcePort: smallPort,
      destinationPort: smallPort,
    },
    { requiredKeys: [] },
  );
  const prefixes = fc.array(
    smallIp(family).map((ip) => `${ip}/${family === 4 ? 32 : 128}` as Prefix),
    { maxLength: 2 },
  );
  return fc.record(
    {
      family: fc.constant(family),
      protocol: fc.constantFrom(6, 17),
      original: tuple,
      reply: tuple,
      translated: fc.boolean(),
      replied: fc.boolean(),
      ended: fc.boolean(),
      from: fc.record({ inside: fc.boolean(), prefixes }),
    },
    { requiredKeys: ["family", "protocol"] },
  );
});

test("an index of filters finds what each by itself matches", () => {
  fc.assert(
    fc.property(fc.array(smallFilter, { maxLength: 30 }), fc.array(smallFlow), (filters, flows) => {
      const index = new FilterIndex(filters as FlowFilter[]);
      for (const flow of flows as unknown as Flow[]) {
        const wanted = filters.flatMap((filter, i) => (matches(filter as FlowFilter, flow) ? [i] : []));
        expect([...index.matching(flow)].sort((a, b) => a - b)).toEqual(wanted);
        expect(index.first(flow)).toBe(wanted[0]);
      }
    }),
  );
});

test("filters are described, and checked by the words of their fault", () => {
  const filter: FlowFilter = {
    family: 6,
    protocol: 17,
    original: { destination: "fd96::1" as IpAddress, destinationPort: 53 },
    reply: { source: "fd01::1" as IpAddress },
    translated: true,
    from: { inside: false, prefixes: ["fd01::/64" as Prefix] },
  };
  expect(describeFilter(filter)).toBe(
    "IPv6 protocol 17 to [fd96::1]:53 replies from [fd01::1] translated from outside fd01::/64",
  );
  expect(() => checkFilter({ family: 4 }, true)).toThrow("it names no address and no port");
  expect(() => checkFilter({ ...filter, family: 4 }, true)).toThrow(
    "original destination is no IPv4 address",
  );
  expect(() => checkFilter(filter, true)).not.toThrow();
});

describe("bad bytes", () => {
  const TUPLE4 = "1400 0180 0800 0100 0a000001 0800 0200 0a000002";
  const PROTO = "1c00 0280 0500 0100 11000000 0600 0200 0001 0000 0600 0300 0002 0000";
  const ORIG = `3400 0180 ${TUPLE4} ${PROTO}`;
  const REPLY = `3400 0280 ${TUPLE4} ${PROTO}`;
  const read = (hex: string): Flow | undefined => readFlow({ payload: bytes(hex) });
  test("the good ones beside them", () => {
    expect(read(`02000000 ${ORIG} ${REPLY}`)).toMatchObject({ family: 4, protocol: 17, mark: 0, id: 0 });
    expect(read(`07000000 ${ORIG} ${REPLY}`)).toBeUndefined();
  });
  test.each([
    ["nothing", ""],
    ["half a header", "0200"],
    ["no direction", "02000000"],
    ["one direction", `02000000 ${ORIG}`],
    ["the other direction", `02000000 ${REPLY}`],
    ["another family than its addresses", `0a000000 ${ORIG} ${REPLY}`],
    ["a tuple without a protocol", `02000000 1800 0180 ${TUPLE4} ${REPLY}`],
    ["a tuple without addresses", `02000000 2000 0180 ${PROTO} ${REPLY}`],
    [
      "an address of three bytes",
      `02000000 ${ORIG.replace("0800 0100 0a000001", "0700 0100 0a000001")} ${REPLY}`,
    ],
    ["no source address", `02000000 ${ORIG.replace("0800 0100 0a000001", "0800 0700 0a000001")} ${REPLY}`],
    ["a port of one byte", `02000000 ${ORIG.replace("0600 0200 0001", "0500 0200 0001")} ${REPLY}`],
    ["no number of a protocol", `02000000 ${ORIG.replace("0500 0100 11", "0500 0a00 11")} ${REPLY}`],
    ["two protocols", `02000000 ${ORIG} ${REPLY.replace("0500 0100 11", "0500 0100 06")}`],
    [
      "ICMP without an id",
      `02000000 ${ORIG.replace("0100 11", "0100 01")} ${REPLY.replace("0100 11", "0100 01")}`,
    ],
    ["a status of two bytes", `02000000 ${ORIG} ${REPLY} 0600 0300 0000 0000`],
    ["an attribute beyond the end", `02000000 ${ORIG} ${REPLY} ff00 0300 00000000`],
    ["a counter of four bytes", `02000000 ${ORIG} ${REPLY} 0c00 0980 0800 0100 00000001`],
  ])("%s", (_, hex) => {
    try {
      read(hex);
    } catch (error) {
      expect(isInvalid(error)).toBe(true);
      return;
    }
    expect.unreachable("it was read");
  });
  test("any bytes at all, and good ones with some changed", () => {
    const harmless = (payload: Uint8Array): void => {
      try {
        readFlow({ payload });
      } catch (error) {
        if (!(error instanceof WeftError) || error.code !== "invalid") throw error;
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), harmless), { numRuns: 1000 });
    const change = fc.tuple(fc.nat(300), fc.nat(255));
    fc.assert(
      fc.property(arbitraryFlow, fc.array(change, { minLength: 1, maxLength: 4 }), (flow, changes) => {
        const payload = written(flow).slice();
        for (const [at, value] of changes) payload[at % payload.length] = value;
        harmless(payload);
        harmless(payload.subarray(0, (changes[0]?.[0] ?? 0) % payload.length));
      }),
      { numRuns: 1000 },
    );
  });
});
