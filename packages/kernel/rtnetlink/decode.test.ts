/** Decoders against bytes that no kernel would send: real messages with bytes changed, cut off, or made up. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type IpAddress, type IpWithLength, type Mac, type Prefix, WeftError } from "@weft/base";
import fc from "fast-check";
import { NETLINK, type NetlinkMessage, NetlinkSocket, NetlinkWriter } from "../netlink/index.ts";
import { createAnonymous } from "../netns/index.ts";
import { AF } from "../sys/socket.ts";
import { RTM } from "./constants.ts";
import { addressHeader, linkHeader, neighbourHeader, routeHeader } from "./headers.ts";
import { decodeAddress, decodeEvent, decodeLink, decodeRoute, decodeRule, RealNamespace } from "./index.ts";

const nameOf = (index: number): string => `link${index}`;
const decoders: readonly ((message: NetlinkMessage) => unknown)[] = [
  (m) => decodeLink(m, nameOf),
  (m) => decodeAddress(m, nameOf),
  (m) => decodeRoute(m, nameOf),
  decodeRule,
  (m) => decodeEvent(m, 3, nameOf),
];

const corpus: NetlinkMessage[] = [];
let namespace: RealNamespace;
beforeAll(() => {
  namespace = new RealNamespace(createAnonymous());
  const mac = "02:00:00:00:00:0a" as Mac;
  namespace.createVeth({ name: "weft-a", mac, mtu: 1500, peer: { name: "weft-b", mac, mtu: 1500 } });
  namespace.changeLink("weft-a", { up: true });
  namespace.createVxlan("weft-v", mac, 1300, {
    vni: 7,
    port: 4789,
    local: "fd00::1" as IpAddress,
    underlay: "weft-a",
    learning: false,
    udpChecksum: true,
  });
  for (const address of ["10.0.0.1/24", "fd00::1/64"]) {
    namespace.replaceAddress({ link: "weft-a", address: address as IpWithLength });
  }
  namespace.replaceRoute({
    destination: "10.1.0.0/16" as Prefix,
    gateway: "fe80::1" as IpAddress,
    link: "weft-a",
    mtu: 1300,
  });
  namespace.replaceRule({ from: "10.0.0.0/24" as Prefix, table: 9, priority: 5, protocol: 87 });
  namespace.replaceNeighbour("weft-a", "10.0.0.2" as IpAddress, mac);
  const socket = new NetlinkSocket(NETLINK.route, { namespace: namespace.fd });
  for (const [type, header] of [
    [RTM.getLink, linkHeader()],
    [RTM.getAddress, addressHeader(0, 0, 0, 0)],
    [RTM.getRoute, routeHeader({ family: AF.inet })],
    [RTM.getRoute, routeHeader({ family: AF.inet6 })],
    [RTM.getRule, routeHeader({ family: AF.inet })],
    [RTM.getNeighbour, neighbourHeader(0)],
  ] as const) {
    const request = new NetlinkWriter().begin(type, 0).raw(header).finish();
    corpus.push(...socket.dump(request, { call: "dump" }));
  }
  socket.close();
});
afterAll(() => namespace.close());

/** Every value, or WeftError "invalid": nothing else. */
function decodeAll(message: NetlinkMessage): number {
  let refused = 0;
  for (const decode of decoders) {
    try {
      decode(message);
    } catch (error) {
      if (!(error instanceof WeftError) || error.code !== "invalid") throw error;
      refused++;
    }
  }
  return refused;
}

test("the corpus has something of everything", () => {
  const types = new Set(corpus.map((m) => m.type));
  expect([...types].sort((x, y) => x - y)).toEqual([
    RTM.newLink,
    RTM.newAddress,
    RTM.newRoute,
    RTM.newNeighbour,
    RTM.newRule,
  ]);
  for (const message of corpus) decodeAll(message);
});

test("every cut of every message is refused or understood", () => {
  let refused = 0;
  for (const message of corpus) {
    for (let length = 0; length < message.payload.length; length++) {
      refused += decodeAll({ ...message, payload: message.payload.subarray(0, length) });
    }
  }
  expect(refused).toBeGreaterThan(1000);
});

test("every message with bytes changed is refused or understood", () => {
  const change = fc.record({ at: fc.nat(), value: fc.integer({ min: 0, max: 255 }) });
  fc.assert(
    fc.property(fc.nat(), fc.array(change, { minLength: 1, maxLength: 6 }), (pick, changes) => {
      const message = corpus[pick % corpus.length] as NetlinkMessage;
      const payload = Uint8Array.from(message.payload);
      for (const { at, value } of changes) payload[at % payload.length] = value;
      decodeAll({ ...message, payload });
    }),
    { numRuns: 3000 },
  );
});

test("any bytes of any type are refused or understood", () => {
  fc.assert(
    fc.property(fc.integer({ min: 16, max: 40 }), fc.uint8Array({ maxLength: 120 }), (type, payload) => {
      decodeAll({ type, flags: 0, sequence: 0, port: 0, payload });
    }),
    { numRuns: 3000 },
  );
});

test("an address of the wrong length is refused, not guessed", () => {
  const route = new NetlinkWriter()
    .begin(RTM.newRoute, 0)
    .raw(routeHeader({ family: AF.inet6, length: 24, type: 1 }))
    .bytes(1, new Uint8Array(4))
    .finish();
  const message = { type: RTM.newRoute, flags: 0, sequence: 0, port: 0, payload: route.subarray(16) };
  expect(() => decodeRoute(message, nameOf)).toThrow(WeftError);
  const long = new NetlinkWriter()
    .begin(RTM.newRoute, 0)
    .raw(routeHeader({ family: AF.inet, length: 33, type: 1 }))
    .finish();
  expect(() => decodeRoute({ ...message, payload: long.subarray(16) }, nameOf)).toThrow(WeftError);
});
