/** The pure steps: whatever is known, they come to rest, and never do what cannot be undone on what watches tell. */
import { describe, expect, test } from "bun:test";
import { hostPrefix, type IpAddress, type Prefix } from "@weft/base";
import { blockName, type IpBlock, type Loan } from "@weft/model";
import fc from "fast-check";
import type { BlockRecord, BlockState, HeldAddress } from "../pool-records.ts";
import { type Borrowed, nextForBorrowed } from "./borrowed.ts";
import { nextForOwn, type OwnBlock } from "./own-block.ts";
import { type BlockUse, surplusOf } from "./surplus.ts";
import { type TunnelPlace, tunnelHomes } from "./tunnel.ts";

const PREFIX = "10.0.0.0/28" as Prefix;
const ip = (last: number): IpAddress => `10.0.0.${last}` as IpAddress;

const loan = fc.record({
  id: fc.constantFrom("a", "b", "c"),
  state: fc.constantFrom("asked", "granted", "refused", "returned" as const),
  tunnel: fc.boolean(),
});
const toLoan = (l: { id: string; state: string; tunnel: boolean }, i: number): Loan => ({
  id: l.id,
  node: "b",
  wanted: undefined,
  address: l.state === "granted" || l.state === "returned" ? ip(8 + i) : undefined,
  refused: l.state === "refused" ? "no" : undefined,
  returned: l.state === "returned",
  tunnel: l.tunnel,
  pod: undefined,
});
const object = fc
  .record({
    node: fc.constantFrom("me", "other", undefined),
    uid: fc.constantFrom("u1", "u2"),
    version: fc.constantFrom("7", "8"),
    loans: fc.uniqueArray(loan, { selector: (l) => l.id }),
    tunnel: fc.boolean(),
  })
  .map(
    ({ node, uid, version, loans, tunnel }): IpBlock => ({
      name: blockName(PREFIX),
      uid,
      resourceVersion: version,
      prefix: PREFIX,
      pool: "p",
      poolUid: "up",
      node,
      tunnelAddress: tunnel ? ip(1) : undefined,
      loans: loans.map(toLoan),
      allocations: [],
      reported: undefined,
      origin: { kind: "IPBlock", name: "x" },
    }),
  );
const record = fc
  .record({
    uid: fc.constantFrom("u1", "u2"),
    state: fc.constantFrom<BlockState>("open", "closed", "lost"),
    deleting: fc.constantFrom("7", undefined),
  })
  .map(
    (r): BlockRecord => ({
      ...r,
      prefix: PREFIX,
      pool: "p",
      poolUid: "up",
      poolCidr: "10.0.0.0/24" as Prefix,
      loan: undefined,
    }),
  );
const held = fc.uniqueArray(fc.constantFrom("a", "b", "z", undefined)).map((ids) =>
  ids.map(
    (id, i): HeldAddress => ({
      address: id === undefined ? ip(1) : ip(8 + i),
      block: PREFIX,
      loan: id,
      node: "b",
      pod: undefined,
      since: 0,
    }),
  ),
);
const own: fc.Arbitrary<OwnBlock> = fc.record({
  node: fc.constant("me"),
  record: fc.option(record, { nil: undefined }),
  object: fc.option(object, { nil: undefined }),
  fresh: fc.boolean(),
  held,
  leased: fc.constantFrom(0, 0, 2),
  poolThere: fc.boolean(),
  usable: fc.boolean(),
  surplus: fc.boolean(),
  tunnelHere: fc.boolean(),
});

/** What becomes of it, as the driver and a server that does all that is asked of it would make it. */
function after(b: OwnBlock): OwnBlock | undefined {
  const next = nextForOwn(b);
  const version = (o: IpBlock): IpBlock => ({
    ...o,
    resourceVersion: String(Number(o.resourceVersion) + 10),
  });
  const o = b.object as IpBlock;
  const r = b.record as BlockRecord;
  switch (next.do) {
    case "rest":
      return undefined;
    case "read":
      return { ...b, fresh: true };
    case "adopt": {
      const known = b.held.map((h) => h.loan);
      const more = o.loans.flatMap((l): HeldAddress[] =>
        l.address === undefined || l.returned || known.includes(l.id)
          ? []
          : [{ address: l.address, block: PREFIX, loan: l.id, node: l.node, pod: undefined, since: 0 }],
      );
      const base = {
        prefix: PREFIX,
        pool: "p",
        poolUid: "up",
        poolCidr: "10.0.0.0/24" as Prefix,
        loan: undefined,
      };
      return {
        ...b,
        record: { ...base, uid: o.uid, state: b.usable ? "open" : "closed", deleting: undefined },
        held: [...b.held, ...more],
      };
    }
    case "lose":
      return { ...b, record: { ...r, state: "lost" } };
    case "reclaim":
      return {
        ...b,
        object: {
          name: blockName(PREFIX),
          uid: "u9",
          resourceVersion: "100",
          prefix: PREFIX,
          pool: "p",
          poolUid: "up",
          node: "me",
          tunnelAddress: b.held.find((h) => h.loan === undefined)?.address,
          loans: b.held.flatMap((h) =>
            h.loan === undefined
              ? []
              : [{ ...toLoan({ id: h.loan, state: "granted", tunnel: false }, 0), address: h.address }],
          ),
          allocations: [],
          reported: undefined,
          origin: { kind: "IPBlock", name: "x" },
        },
      };
    case "take-back":
      return { ...b, object: version({ ...o, node: "me" }) };
    case "forget":
      return { ...b, record: undefined, held: [] };
    case "let-go":
      return { ...b, held: b.held.filter((h) => !next.addresses.includes(h.address)) };
    case "close":
      return { ...b, record: { ...r, state: "closed" } };
    case "delete":
      return { ...b, record: { ...r, deleting: o.resourceVersion }, object: undefined };
    case "reopen":
      return { ...b, record: { ...r, state: "open" } };
    case "touch":
      return { ...b, object: version(o) };
    case "write": {
      let ends = b.held;
      const answered = o.loans
        .filter((l) => !next.drop.includes(l))
        .map((l) =>
          next.answer.includes(l) ? { ...l, address: l.address ?? ip(12), refused: undefined } : l,
        );
      for (const l of next.answer)
        ends = [
          ...ends,
          { address: l.address ?? ip(12), block: PREFIX, loan: l.id, node: l.node, pod: undefined, since: 0 },
        ];
      const end = ends.find((h) => h.loan === undefined);
      if (next.tunnel === "put" && end === undefined)
        ends = [
          ...ends,
          { address: ip(1), block: PREFIX, loan: undefined, node: "me", pod: undefined, since: 0 },
        ];
      const tunnelAddress =
        next.tunnel === "leave"
          ? o.tunnelAddress
          : next.tunnel === "clear"
            ? undefined
            : (end?.address ?? ip(1));
      return { ...b, held: ends, object: version({ ...o, loans: answered, tunnelAddress }), fresh: true };
    }
  }
}

describe("an own block", () => {
  test("comes to rest from any state, and then everybody agrees", () => {
    fc.assert(
      fc.property(own, (start) => {
        let now = start;
        for (let i = 0; ; i++) {
          const then = after(now);
          if (then === undefined) break;
          expect(i).toBeLessThan(20);
          now = then;
        }
        const { record: r, object: o, held: h } = now;
        if (r === undefined) {
          // Nothing of it is ours, or somebody else's object is there.
          expect(o?.node === "me" && now.fresh).toBe(false);
          return;
        }
        if (o?.node !== "me" || r.state === "lost") return;
        expect(r.uid).toBe(o.uid);
        const lent = new Set(h.flatMap((x) => x.loan ?? []));
        for (const l of o.loans) {
          if (r.state === "open") expect(l.returned).toBe(false);
          if (l.address !== undefined && !l.returned && r.state === "open") expect(lent.has(l.id)).toBe(true);
        }
        for (const id of lent) expect(o.loans.some((l) => l.id === id)).toBe(true);
        if (r.state === "open" && now.tunnelHere)
          expect(o.tunnelAddress).toBe(h.find((x) => x.loan === undefined)?.address);
        if (!now.tunnelHere) expect(o.tunnelAddress).toBeUndefined();
      }),
      { numRuns: 3_000 },
    );
  });

  test("nothing that cannot be undone follows from what watches tell alone", () => {
    fc.assert(
      fc.property(own, (b) => {
        const step = nextForOwn({ ...b, fresh: false }).do;
        expect([
          "adopt",
          "forget",
          "let-go",
          "delete",
          "lose",
          "reclaim",
          "take-back",
          "reopen",
          "touch",
        ]).not.toContain(step);
      }),
      { numRuns: 3_000 },
    );
  });

  test("it is deleted only when closed and empty, and forgotten only when it is not ours", () => {
    fc.assert(
      fc.property(own, (b) => {
        const step = nextForOwn(b);
        if (step.do === "delete") {
          expect(b.record?.state).toBe("closed");
          expect([b.leased, b.held.length]).toEqual([0, 0]);
        }
        if (step.do === "close") expect([b.leased, b.held.length, b.object?.loans.length]).toEqual([0, 0, 0]);
        if (step.do === "forget") {
          expect(b.object?.node).not.toBe("me");
          expect(b.leased).toBe(0);
        }
        if (step.do === "reopen") expect(b.record?.deleting).not.toBe(b.object?.resourceVersion as string);
        if (step.do === "let-go") {
          for (const h of b.held.filter((x) => step.addresses.includes(x.address)))
            expect(b.object?.loans.some((l) => l.id === h.loan)).not.toBe(true);
        }
      }),
      { numRuns: 3_000 },
    );
  });
});

describe("a borrowed address", () => {
  const borrowed: fc.Arbitrary<Borrowed> = fc.record({
    node: fc.constant("b"),
    id: fc.constant("a"),
    record: fc.option(
      record.map((r) => ({
        ...r,
        prefix: hostPrefix(ip(8)),
        loan: { id: "a", lender: PREFIX, wanted: false },
      })),
      { nil: undefined },
    ),
    object: fc.option(object, { nil: undefined }),
    fresh: fc.boolean(),
    used: fc.boolean(),
    tunnel: fc.boolean(),
    awaited: fc.boolean(),
  });

  test("what is in use is never closed, returned or forgotten", () => {
    fc.assert(
      fc.property(borrowed, (b) => {
        const step = nextForBorrowed(b).do;
        if (b.used && b.record !== undefined) expect(["close", "return", "forget"]).not.toContain(step);
        if (b.awaited && b.record === undefined) expect(step).toBe("rest");
      }),
      { numRuns: 3_000 },
    );
  });

  test("it is returned only when closed, and forgotten only when the server has no such loan", () => {
    fc.assert(
      fc.property(borrowed, (b) => {
        const step = nextForBorrowed(b).do;
        const entry = b.object?.loans.find((l) => l.id === "a" && !l.returned);
        if (step === "return" && b.record !== undefined && entry?.address === ip(8))
          expect(b.record.state).toBe("closed");
        if (step === "forget") {
          expect(b.fresh).toBe(true);
          expect(entry).toBeUndefined();
        }
        if (step === "return" || step === "lose" || step === "reopen") expect(b.fresh).toBe(true);
      }),
      { numRuns: 3_000 },
    );
  });
});

test("a tunnel has a home wherever there may be pods, and two only while it moves", () => {
  const place = fc.record({
    prefix: fc.constantFrom<Prefix>(
      "10.0.0.0/28" as Prefix,
      "10.0.1.0/28" as Prefix,
      "10.0.2.0/28" as Prefix,
    ),
    usable: fc.boolean(),
    held: fc.boolean(),
    written: fc.boolean(),
    room: fc.boolean(),
    borrowed: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.uniqueArray(place, { selector: (p) => p.prefix }), (places: readonly TunnelPlace[]) => {
      expect(tunnelHomes(places, false).size).toBe(0);
      const homes = tunnelHomes(places, true);
      const could = places.some((p) => p.held || (p.usable && !p.borrowed && p.room));
      expect(homes.size > 0).toBe(could);
      // One of them, once it is written, is the only one.
      if (places.some((p) => p.usable && !p.borrowed && p.held && p.written)) expect(homes.size).toBe(1);
      // Whatever is held stays until another one is written.
      const home = places.find((p) => homes.has(p.prefix) && p.held && p.written);
      if (home === undefined) for (const p of places) if (p.held) expect(homes.has(p.prefix)).toBe(true);
    }),
  );
});

test("of a pool that may be used one block stays, and what somebody has an address of always", () => {
  const use = fc.record({
    prefix: fc.constantFrom<Prefix>(
      "10.0.0.0/28" as Prefix,
      "10.0.1.0/28" as Prefix,
      "10.0.2.0/28" as Prefix,
    ),
    pool: fc.constantFrom("p", "q"),
    usable: fc.boolean(),
    used: fc.boolean(),
    emptySince: fc.constantFrom(0, 50, 100),
  });
  const patience = { idle: 60, drained: 1 };
  fc.assert(
    fc.property(fc.uniqueArray(use, { selector: (u) => u.prefix }), (given) => {
      const blocks: BlockUse[] = given.map((u) => ({ ...u, emptySince: u.used ? undefined : u.emptySince }));
      const { blocks: surplus, next } = surplusOf(blocks, 100, patience);
      for (const b of blocks) if (b.used) expect(surplus.has(b.prefix)).toBe(false);
      for (const pool of ["p", "q"]) {
        const usable = blocks.filter((b) => b.pool === pool && b.usable);
        if (usable.length > 0) expect(usable.every((b) => surplus.has(b.prefix))).toBe(false);
      }
      // In the end all others go.
      const end = surplusOf(blocks, 10_000, patience);
      const left = blocks.filter((b) => !b.used && !end.blocks.has(b.prefix));
      expect(left.length).toBeLessThanOrEqual(2);
      expect(end.next).toBeUndefined();
      if (next !== undefined) expect(next).toBeGreaterThan(100);
    }),
  );
});
