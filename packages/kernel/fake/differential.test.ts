/** The same random calls to Linux and to the fake: the same outcomes, and the same state after each. */
import { expect, test } from "bun:test";
import type { IpAddress, IpWithLength, Mac, Prefix } from "@weft/base";
import { WeftError } from "@weft/base";
import fc from "fast-check";
import { createAnonymous } from "../netns/index.ts";
import type { LinkChange, NetworkNamespace, RouteSpec } from "../port.ts";
import { LinkRemover, RealNamespace } from "../rtnetlink/index.ts";
import { createFakeKernel } from "./kernel.ts";

type Pair = readonly [NetworkNamespace, NetworkNamespace];
type Call = readonly [what: string, call: (pair: Pair) => void | Promise<void>];

// The loopback is a world of its own: here it only goes up and down.
const LINKS = ["weft-a", "weft-b", "weft-br", "weft-none"];
const MACS = ["02:00:00:00:00:0a", "02:00:00:00:00:0b", "01:00:00:00:00:0c"] as Mac[];
const ADDRESSES = [
  "10.1.0.1/24",
  "10.1.1.1/32",
  "10.2.0.9/16",
  "fd01::1/64",
  "fd02::1/128",
] as IpWithLength[];
const DESTINATIONS = ["10.9.0.0/16", "0.0.0.0/0", "10.1.0.0/24", "fd09::/64", "::/0"] as Prefix[];
const GATEWAYS = ["10.1.0.2", "10.2.0.1", "fd01::2", "fe80::7", "10.77.0.1", "fd77::1"] as IpAddress[];

const side = fc.constantFrom(0, 1) as fc.Arbitrary<0 | 1>;
const link = fc.constantFrom(...LINKS);
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(value, { nil: undefined });

/** Leaves out what is undefined, as exact optional properties want it. */
const given = <T extends object>(record: { [K in keyof T]: T[K] | undefined }): T =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as T;

const loopback = side.map(
  (s): Call => [`loopback ${s}`, (p) => p[s].changeLink("lo", { up: p[s].link("lo")?.up !== true })],
);

const change = fc
  .record({
    up: maybe(fc.boolean()),
    mtu: maybe(fc.constantFrom(60, 1300, 1400)),
    mac: maybe(fc.constantFrom(...MACS)),
    alias: maybe(fc.constantFrom("x", "y")),
    master: maybe(fc.constantFrom("weft-br", "weft-b", null)),
  })
  .map((c) => given<LinkChange>(c));

const route = fc
  .record({
    destination: fc.constantFrom(...DESTINATIONS),
    type: maybe(fc.constantFrom("unicast" as const, "unreachable" as const)),
    link: maybe(link),
    gateway: maybe(fc.constantFrom(...GATEWAYS)),
    onlink: maybe(fc.boolean()),
    metric: maybe(fc.constantFrom(5, 1024)),
  })
  // A route of one family by a gateway of the other has rules of its own.
  .filter((r) => r.gateway === undefined || r.gateway.includes(":") === r.destination.includes(":"))
  .map((r) => given<RouteSpec>(r));

const call: fc.Arbitrary<Call> = fc.oneof(
  { weight: 1, arbitrary: loopback },
  {
    weight: 4,
    arbitrary: fc
      .tuple(side, link, change)
      .map(
        ([s, name, c]): Call => [
          `changeLink ${s} ${name} ${JSON.stringify(c)}`,
          (p) => p[s].changeLink(name, c),
        ],
      ),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(side, link)
      .map(([s, name]): Call => [`up ${s} ${name}`, (p) => p[s].changeLink(name, { up: true })]),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(side, link, fc.constantFrom(...ADDRESSES), fc.boolean())
      .map(
        ([s, name, address, noPrefixRoute]): Call => [
          `replaceAddress ${s} ${name} ${address} ${noPrefixRoute}`,
          (p) => p[s].replaceAddress({ link: name, address, noPrefixRoute }),
        ],
      ),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(side, link, fc.constantFrom(...ADDRESSES))
      .map(
        ([s, name, address]): Call => [
          `deleteAddress ${s} ${name} ${address}`,
          (p) => p[s].deleteAddress(name, address),
        ],
      ),
  },
  {
    weight: 5,
    arbitrary: fc
      .tuple(side, route)
      .map(([s, r]): Call => [`replaceRoute ${s} ${JSON.stringify(r)}`, (p) => p[s].replaceRoute(r)]),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(side, route)
      .map(([s, r]): Call => [`deleteRoute ${s} ${JSON.stringify(r)}`, (p) => p[s].deleteRoute(r)]),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(side, link, fc.constantFrom(...GATEWAYS))
      .map(
        ([s, name, ip]): Call => [
          `replaceNeighbour ${s} ${name} ${ip}`,
          (p) => p[s].replaceNeighbour(name, ip, MACS[0]!),
        ],
      ),
  },
  {
    weight: 1,
    arbitrary: side.map(
      (s): Call => [
        `createVeth ${s}`,
        (p) => {
          const peer = { name: "weft-b", mac: MACS[1]!, mtu: 1500, namespace: p[1 - s]! };
          p[s].createVeth({ name: "weft-a", mac: MACS[0]!, mtu: 1500, addressGeneration: "none", peer });
          p[1 - s]!.changeLink("weft-b", { addressGeneration: "none" });
        },
      ],
    ),
  },
  {
    weight: 1,
    arbitrary: side.map(
      (s): Call => [
        `moveLink ${s}`,
        (p) => {
          p[s].moveLink("weft-a", p[1 - s]!, "weft-c");
          p[1 - s]!.changeLink("weft-c", { addressGeneration: "none" });
        },
      ],
    ),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(side, fc.constantFrom("weft-a", "weft-br", "weft-none"))
      .map(([s, name]): Call => [`deleteLink ${s} ${name}`, (p) => p[s].deleteLink(name)]),
  },
);

const sorted = <T>(rows: readonly T[]): T[] =>
  [...rows].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

const stateOf = (namespace: NetworkNamespace) => ({
  links: sorted(
    namespace.links().map(({ name, kind, mac, mtu, up, carrier, master, alias }) => {
      return { name, kind, mac, mtu, up, carrier, master, alias };
    }),
  ),
  addresses: sorted(namespace.addresses()),
  routes: sorted(namespace.routes({ table: 254 })),
  neighbours: sorted(namespace.neighbours().filter((n) => n.state === "permanent")),
});

async function outcome(call: Call, pair: Pair): Promise<string> {
  try {
    await call[1](pair);
    return "ok";
  } catch (error) {
    return error instanceof WeftError ? error.code : String(error);
  }
}

function prepare([near, far]: Pair): void {
  const peer = { name: "weft-b", mac: MACS[1]!, mtu: 1500, namespace: far };
  near.createVeth({ name: "weft-a", mac: MACS[0]!, mtu: 1500, addressGeneration: "none", peer });
  far.changeLink("weft-b", { addressGeneration: "none" });
  near.createBridge("weft-br", MACS[1]!, 1500);
  near.changeLink("weft-br", { addressGeneration: "none" });
}

/** More of them by hand: WEFT_RUNS=1000. */
const { WEFT_RUNS = "40" } = process.env;

test("Linux and the fake agree", async () => {
  const remover = new LinkRemover();
  await fc.assert(
    fc.asyncProperty(fc.array(call, { minLength: 5, maxLength: 25 }), async (calls) => {
      const fake = createFakeKernel();
      const inMemory = [fake.newNamespace(), fake.newNamespace()] as const;
      const real = [
        new RealNamespace(createAnonymous(), remover),
        new RealNamespace(createAnonymous(), remover),
      ] as const;
      try {
        prepare(real);
        prepare(inMemory);
        const trail: string[] = [];
        for (const one of calls) {
          const [a, b] = [await outcome(one, real), await outcome(one, inMemory)];
          trail.push(`${one[0]}: ${a}`);
          expect(b, trail.join("\n")).toBe(a);
          // The kernel tells a carrier when its link watch runs, which on a busy machine takes a second and more.
          const until = performance.now() + 6000;
          while (!Bun.deepEquals(inMemory.map(stateOf), real.map(stateOf)) && performance.now() < until)
            await Bun.sleep(20);
          expect(inMemory.map(stateOf), trail.join("\n")).toEqual(real.map(stateOf));
        }
      } finally {
        for (const namespace of real) namespace.close();
      }
    }),
    { numRuns: Number(WEFT_RUNS) },
  );
}, 300_000);
