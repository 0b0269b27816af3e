/** The plan of services against the kernel: whatever happens to either, the table is as if made from scratch. */
import { describe, expect, test } from "bun:test";
import { ipFromBigInt, type Prefix } from "@weft/base";
import { createFakeKernel } from "@weft/kernel/fake";
import { createAnonymous, inNetns } from "@weft/kernel/netns";
import { createNftables, type NftStep } from "@weft/kernel/nftables";
import type { Nftables } from "@weft/kernel/port";
import type { Backend, FrontendMatch, FrontendRow, ServicePlanRow } from "@weft/model";
import fc from "fast-check";
import { chainsOf } from "./chains.ts";
import { SERVICES_TABLE, SETS } from "./layout.ts";
import { readHeld } from "./read.ts";
import { SKELETON_COMMENT } from "./skeleton.ts";
import { frontend, nodeRows, origin, serviceIp } from "./testing/rows.ts";
import { TestServices } from "./testing/services.ts";

interface Made {
  readonly nft: Nftables;
  /** In the hands of somebody else. */
  readonly other: Nftables;
  readonly fd: number | undefined;
  close(): void;
}
const KERNELS: readonly (readonly [string, () => Made])[] = [
  [
    "in memory",
    () => {
      const fake = createFakeKernel();
      const other = fake.outsiderNftables(fake.kernel.self);
      return { nft: fake.kernel.nftables, other, fd: undefined, close() {} };
    },
  ],
  [
    "Linux",
    () => {
      const namespace = createAnonymous();
      const nft = createNftables(namespace);
      const close = (): void => {
        nft.close();
        namespace.close();
      };
      return { nft, other: nft, fd: namespace.fd, close };
    },
  ],
];

/** All that the table holds, in lines; slots of random balancing without their numbers, which need not agree. */
function stateOf(nft: Nftables): string[] {
  const held = readHeld(nft);
  if (held === undefined) return ["the table does not stand"];
  const lines: string[] = [];
  for (const { key, profile, slots, permitted } of held.frontends.values()) {
    const backends = slots.map((b) => `${b?.ip} ${b?.port}`);
    const order = profile?.maglev === true ? backends : backends.sort();
    lines.push(`${key} ${JSON.stringify(profile)} [${order}] ${permitted}`);
  }
  for (const rows of Object.values(held.plain))
    for (const { kind, key } of rows.values()) lines.push(`${kind} ${key}`);
  const { chains = [], rules = [] } = nft.contents("inet", SERVICES_TABLE) ?? {};
  // Chains of profiles that nothing has any more may stand.
  const unused = new Set(held.chains.keys());
  for (const { profile, family, count } of held.profiles.values())
    if (count > 0) for (const { chain } of chainsOf(profile, family).chains) unused.delete(chain);
  for (const { chain } of chains) if (!unused.has(chain)) lines.push(`chain ${chain}`);
  for (const { chain, comment } of rules) if (!unused.has(chain)) lines.push(`rule ${chain} ${comment}`);
  for (const { set } of SETS) {
    if (/^(affinity|gates|balance|remember|masquerade)/.test(set)) continue;
    lines.push(`${set}: ${nft.rawElements("inet", SERVICES_TABLE, set).length}`);
  }
  return lines.sort();
}

async function fromScratch(make: () => Made, rows: readonly ServicePlanRow[]): Promise<string[]> {
  const made = make();
  const services = new TestServices(made.nft);
  try {
    await services.go(rows);
    return rows.length === 0 ? [] : stateOf(made.nft);
  } finally {
    await services.stop();
    made.close();
  }
}

const few = <T>(...values: T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const backend = (family: 4 | 6): fc.Arbitrary<Backend> =>
  fc.integer({ min: 1, max: 12 }).map((n) => ({
    ip: ipFromBigInt((family === 4 ? 10n << 24n : 0xfd00n << 112n) + BigInt(n), family),
    port: 8080 + (n % 2),
  }));
const compareBackends = (a: Backend, b: Backend): number =>
  a.ip === b.ip ? a.port - b.port : a.ip < b.ip ? -1 : 1;
const prefixes = (family: 4 | 6): fc.Arbitrary<Prefix> =>
  family === 4
    ? few<string>("10.0.0.0/8", "10.1.0.0/16", "192.0.2.1/32", "0.0.0.0/0").map((p) => p as Prefix)
    : few<string>("fd00::/16", "fd00:1::/32", "2001:db8::1/128", "::/0").map((p) => p as Prefix);

const frontends: fc.Arbitrary<FrontendRow> = few(4 as const, 6 as const).chain((family) =>
  fc
    .record({
      scope: few("any" as const, "outside" as const),
      address: few<FrontendMatch["address"]>("node", serviceIp(family, 1), serviceIp(family, 2)),
      protocol: few("tcp" as const, "udp" as const, "sctp" as const),
      action: few("balance" as const, "balance" as const, "reject" as const, "drop" as const),
      backends: fc.uniqueArray(backend(family), { maxLength: 6, selector: (b) => `${b.ip} ${b.port}` }),
      balance: few("random" as const, "random" as const, "random" as const, "maglev" as const),
      affinity: few(undefined, 30, 10_800),
      masquerade: few("never" as const, "foreign" as const),
      sources: fc.option(fc.array(prefixes(family), { maxLength: 3 }), { nil: undefined }),
    })
    .map(({ backends, ...rest }) =>
      frontend({
        ...rest,
        family,
        backends: rest.action === "balance" ? backends.sort(compareBackends) : [],
      }),
    ),
);
/** Rows that agree with each other: one of a key. */
const states = (maxLength: number) =>
  fc.record({
    node: fc.subarray(nodeRows()),
    frontends: fc.uniqueArray(frontends, {
      maxLength,
      selector: (r) => `${r.scope} ${r.match.family} ${r.match.address} ${r.match.protocol}`,
    }),
  });
const rowsOf = (s: {
  node: readonly ServicePlanRow[];
  frontends: readonly ServicePlanRow[];
}): ServicePlanRow[] => [...s.node, ...s.frontends];

const WEB = frontend({
  backends: [1, 2, 3].map((n) => ({ ip: `10.244.0.${n}` as Backend["ip"], port: 80 })),
  affinity: 60,
});
const SOME: readonly ServicePlanRow[] = [
  ...nodeRows(),
  WEB,
  frontend({ protocol: "udp", backends: WEB.backends, balance: "maglev" }),
  frontend({ address: "node", port: 30_080, backends: WEB.backends }),
  frontend({ address: "node", port: 30_080, scope: "outside", action: "drop" }),
  frontend({ address: serviceIp(4, 2), action: "reject", sources: ["10.0.0.0/8" as Prefix] }),
  frontend({
    family: 6,
    backends: [{ ip: "fd00::1" as Backend["ip"], port: 80 }],
    sources: ["fd00::/16" as Prefix],
  }),
];

for (const [name, make] of KERNELS) {
  describe(name, () => {
    test("any way to some rows ends as a beginning with them", async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(states(8), { minLength: 1, maxLength: 5 }), async (journey) => {
          const made = make();
          const services = new TestServices(made.nft);
          try {
            for (const stop of journey) {
              await services.go(rowsOf(stop));
              expect(services.errors()).toEqual([]);
            }
            const last = rowsOf(journey.at(-1) as (typeof journey)[number]);
            if (last.length > 0) expect(stateOf(made.nft)).toEqual(await fromScratch(make, last));
            expect(await services.drift()).toEqual([]);
          } finally {
            await services.stop();
            made.close();
          }
        }),
        { numRuns: 25 },
      );
    }, 120_000);

    test("a range that is cut in pieces, and pieces that are one again, take each other's place at once", async () => {
      const made = make();
      const services = new TestServices(made.nft);
      const range = (prefix: string): ServicePlanRow => ({
        kind: "pod-range",
        role: "local",
        prefix: prefix as Prefix,
        origin,
      });
      const others = SOME.filter((row) => row.kind !== "pod-range" && row.kind !== "service-address");
      const ways: readonly (readonly string[])[] = [
        ["10.244.0.0/29", "fd00:244::/64"],
        ["10.244.0.0/30", "10.244.0.4/32", "10.244.0.6/31", "fd00:244::/65", "fd00:244:0:0:8000::1/128"],
        ["10.244.0.0/28", "fd00:244::/63"],
        ["10.244.0.1/32", "10.244.0.8/29", "fd00:244::/64"],
        ["10.244.0.0/29", "10.244.0.9/32", "fd00:244::/64"],
      ];
      try {
        for (const [i, way] of ways.entries()) {
          const addresses = [`10.96.0.0/${12 + i}`, "10.96.0.1/32", `fd00:96::/${112 - i}`].map(
            (prefix): ServicePlanRow => ({ kind: "service-address", prefix: prefix as Prefix, origin }),
          );
          const rows = [...others, ...way.map(range), ...addresses];
          await services.go(rows);
          expect(services.warnings).toEqual([]);
          expect(stateOf(made.nft)).toEqual(await fromScratch(make, rows));
        }
      } finally {
        await services.stop();
        made.close();
      }
    }, 120_000);

    test("a restart writes nothing", async () => {
      const made = make();
      try {
        const first = new TestServices(made.nft);
        await first.go(SOME);
        await first.stop();
        const generation = made.nft.generation();
        const second = new TestServices(made.nft);
        await second.go(SOME);
        await second.later();
        expect(made.nft.generation()).toBe(generation);
        expect(await second.drift()).toEqual([]);
        // What changed while nobody was there.
        const third = new TestServices(made.nft);
        await second.stop();
        await third.go(SOME.slice(0, -1));
        expect(stateOf(made.nft)).toEqual(await fromScratch(make, SOME.slice(0, -1)));
        await third.stop();
      } finally {
        made.close();
      }
    }, 120_000);

    const key = Uint8Array.of(10, 96, 0, 1, 6, 0, 0, 0, 0, 80, 0, 0);
    const slot = (n: number) => Uint8Array.of(...key, n, 0, 0, 0);
    const DAMAGE: readonly (readonly [string, readonly NftStep[]])[] = [
      ["a frontend is deleted", [{ do: "delete", set: "frontends4", elements: [{ key }] }]],
      ["a backend is deleted", [{ do: "delete", set: "backends4", elements: [{ key: slot(1) }] }]],
      [
        "a backend is exchanged",
        [
          { do: "delete", set: "backends4", elements: [{ key: slot(1) }] },
          {
            do: "add",
            set: "backends4",
            elements: [{ key: slot(1), value: Uint8Array.of(1, 2, 3, 4, 0, 9, 0, 0) }],
          },
        ],
      ],
      [
        "a backend is added",
        [{ do: "add", set: "backends4", elements: [{ key: slot(9), value: new Uint8Array(8) }] }],
      ],
      [
        "a frontend that nobody asked for",
        [
          {
            do: "add",
            set: "frontends4",
            elements: [
              { key: Uint8Array.of(9, 9, 9, 9, 6, 0, 0, 0, 0, 80, 0, 0), value: new Uint8Array(12) },
            ],
          },
        ],
      ],
      [
        "an address is added",
        [{ do: "add", set: "addresses4", elements: [{ key: Uint8Array.of(1, 1, 1, 1) }] }],
      ],
      [
        "half of a range is deleted",
        [{ do: "delete", set: "local4", elements: [{ key: Uint8Array.of(10, 244, 0, 0) }] }],
      ],
      [
        "the node's source is deleted",
        [{ do: "delete", set: "node-source4", elements: [{ key: Uint8Array.of(2) }] }],
      ],
      ["a chain is added", [{ do: "chain", chain: "foreign" }]],
      ["the table is deleted", [{ do: "delete-table" }]],
      ["another version", [{ do: "delete-table" }, { do: "table", comment: "Weft's services 0" }]],
    ];

    for (const [what, steps] of DAMAGE) {
      test(`${what}: put right by the next comparison, and nothing else is touched`, async () => {
        const made = make();
        const services = new TestServices(made.nft);
        try {
          await made.other.run("table inet others { set s { type mark; elements = { 1 }; }\n}");
          await services.go(SOME);
          const before = stateOf(made.nft);
          made.other.commit("inet", SERVICES_TABLE, steps);
          if (what === "a backend is exchanged") {
            // As many elements as before: only a full reading sees it, after so many that were quick.
            for (let i = 0; i < 31; i++) {
              await made.other.run("add table inet another; delete table inet another");
              await services.later();
            }
          } else {
            expect((await services.drift()).length).toBeGreaterThan(0);
            await services.later();
          }
          expect(services.errors()).toEqual([]);
          expect(stateOf(made.nft)).toEqual(before);
          expect(await services.drift()).toEqual([]);
          expect(made.other.elements("inet", "others", "s", ["mark"], 4)).toHaveLength(1);
          const generation = made.nft.generation();
          await services.later();
          expect(made.nft.generation()).toBe(generation);
        } finally {
          await services.stop();
          made.close();
        }
      }, 120_000);

      test(`${what}: put right by a change that runs into it`, async () => {
        const made = make();
        const services = new TestServices(made.nft);
        try {
          await services.go(SOME);
          made.other.commit("inet", SERVICES_TABLE, steps);
          const changed = SOME.filter((row) => row !== WEB);
          await services.go(changed);
          await services.later();
          expect(stateOf(made.nft)).toEqual(await fromScratch(make, changed));
        } finally {
          await services.stop();
          made.close();
        }
      }, 120_000);
    }

    test("transactions in tables of others are no drift", async () => {
      const made = make();
      const services = new TestServices(made.nft);
      try {
        await services.go(SOME);
        await made.other.run("add table inet others");
        await services.later();
        await made.other.run("delete table inet others");
        expect(await services.drift()).toEqual([]);
        expect(made.nft.contents("inet", SERVICES_TABLE)?.comment).toBe(SKELETON_COMMENT);
      } finally {
        await services.stop();
        made.close();
      }
    }, 120_000);

    test("grows from nothing to thousands, and back", async () => {
      const made = make();
      const services = new TestServices(made.nft);
      const rows = Array.from({ length: 3000 }, (_, i) =>
        frontend({ address: serviceIp(4, 1 + (i % 250)), port: 1 + i, backends: WEB.backends }),
      );
      try {
        await services.go([]);
        for (const length of [1, 10, 1000, 3000, 2]) {
          await services.go(rows.slice(0, length));
          expect(services.errors()).toEqual([]);
          expect(made.nft.rawElements("inet", SERVICES_TABLE, "backends4")).toHaveLength(3 * length);
          expect(await services.drift()).toEqual([]);
        }
      } finally {
        await services.stop();
        made.close();
      }
    }, 120_000);

    test("profiles that nothing has any more go in the end", async () => {
      const made = make();
      const services = new TestServices(made.nft);
      try {
        for (let affinity = 1; affinity <= 80; affinity++) await services.go([{ ...WEB, affinity }]);
        expect(made.nft.rawElements("inet", SERVICES_TABLE, "gates4").length).toBeLessThanOrEqual(34);
        expect(stateOf(made.nft)).toEqual(await fromScratch(make, [{ ...WEB, affinity: 80 }]));
        const again = new TestServices(made.nft);
        const generation = made.nft.generation();
        await again.go([{ ...WEB, affinity: 80 }]);
        expect(made.nft.generation()).toBe(generation);
        await again.stop();
      } finally {
        await services.stop();
        made.close();
      }
    }, 120_000);

    test("one backend more or less is few elements", async () => {
      const made = make();
      const many: Backend[] = Array.from({ length: 50 }, (_, i) => ({
        ip: `10.244.0.${i + 1}` as Backend["ip"],
        port: 80,
      }));
      const changed: number[] = [];
      const nft = new Proxy(made.nft, {
        get(target, property) {
          if (property === "commit")
            return (...args: Parameters<Nftables["commit"]>) => {
              changed.push(
                args[2].reduce(
                  (sum, s) => sum + (s.do === "add" || s.do === "delete" ? s.elements.length : 0),
                  0,
                ),
              );
              target.commit(...args);
            };
          const value: unknown = Reflect.get(target, property, target);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
      const services = new TestServices(nft);
      try {
        const bystander = frontend({ port: 81, backends: many.slice(1) });
        await services.go([frontend({ backends: many }), bystander, frontend({ port: 82, backends: many })]);
        changed.length = 0;
        // The first of fifty goes: its slot is filled by the last.
        await services.go([
          frontend({ backends: many.slice(1) }),
          bystander,
          frontend({ port: 82, backends: many }),
        ]);
        expect(changed).toEqual([5]);
        expect(await services.drift()).toEqual([]);
      } finally {
        await services.stop();
        made.close();
      }
    }, 120_000);
  });
}

describe("nft(8)", () => {
  const withLinux = async (
    work: (made: Made, run: (...argv: string[]) => string) => Promise<void>,
  ): Promise<void> => {
    const made = (KERNELS[1] as (typeof KERNELS)[number])[1]();
    try {
      await work(made, (...argv) => {
        const result = inNetns(made.fd as number, () =>
          Bun.spawnSync(argv, { stdout: "pipe", stderr: "pipe" }),
        );
        expect([argv.join(" "), result.exitCode]).toEqual([argv.join(" "), 0]);
        return result.stdout.toString();
      });
    } finally {
      made.close();
    }
  };

  test("lists the table, with as many elements, chains and rules", async () => {
    await withLinux(async ({ nft }, run) => {
      const services = new TestServices(nft);
      await services.go(SOME);
      interface Listed {
        readonly set?: { readonly name: string; readonly elem?: readonly unknown[] };
        readonly map?: { readonly name: string; readonly elem?: readonly unknown[] };
        readonly chain?: { readonly name: string };
        readonly rule?: { readonly chain: string; readonly comment?: string };
      }
      const { nftables } = JSON.parse(run("nft", "-j", "list", "table", "inet", SERVICES_TABLE)) as {
        nftables: readonly Listed[];
      };
      const contents = nft.contents("inet", SERVICES_TABLE);
      expect(nftables.flatMap((o) => o.chain?.name ?? []).sort()).toEqual(
        (contents?.chains.map((c) => c.chain) ?? []).sort(),
      );
      expect(nftables.flatMap((o) => (o.rule ? [`${o.rule.chain} ${o.rule.comment}`] : []))).toEqual(
        contents?.rules.map((r) => `${r.chain} ${r.comment}`) ?? [],
      );
      for (const listed of nftables.flatMap((o) => o.map ?? o.set ?? [])) {
        const raw = nft
          .rawElements("inet", SERVICES_TABLE, listed.name)
          .filter((e) => e.intervalEnd !== true);
        expect([listed.name, listed.elem?.length ?? 0]).toEqual([listed.name, raw.length]);
      }
      const text = run("nft", "list", "table", "inet", SERVICES_TABLE);
      expect(text).toContain(
        "dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 3 map @backends4",
      );
      expect(text).toContain("10.96.0.2 . tcp . 80 . 10.0.0.0/8");
      await services.stop();
    });
  });

  test("flushes a chain, deletes a rule, turns the table dormant: all is put right", async () => {
    await withLinux(async ({ nft }, run) => {
      const services = new TestServices(nft);
      await services.go(SOME);
      const before = stateOf(nft);
      const rule = /comment.* # handle (\d+)/.exec(
        run("nft", "-a", "list", "chain", "inet", SERVICES_TABLE, "gate"),
      );
      for (const command of [
        `delete rule inet ${SERVICES_TABLE} gate handle ${rule?.[1]}`,
        `flush chain inet ${SERVICES_TABLE} services`,
        `flush map inet ${SERVICES_TABLE} balance4`,
        `flush map inet ${SERVICES_TABLE} backends4`,
        `flush set inet ${SERVICES_TABLE} local4`,
        `add table inet ${SERVICES_TABLE} { flags dormant; }`,
        "flush ruleset",
      ]) {
        run("nft", command);
        await services.later();
        expect([command, stateOf(nft)]).toEqual([command, before]);
        expect(services.errors()).toEqual([]);
      }
      await services.stop();
    });
  }, 120_000);
});
