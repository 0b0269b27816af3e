/** What a ledger holds of pools: who has what, durably, and nobody twice. */
import { Database } from "bun:sqlite";
import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type IpAddress, type Prefix, parseIp, parsePrefix, WeftError } from "@weft/base";
import fc from "fast-check";
import { blocksOf, ipsOf, request } from "./fixtures.ts";
import { type Ledger, openLedger } from "./ledger.ts";

const directory = mkdtempSync(join(tmpdir(), "weft-pool-records-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let number = 0;
let path: string;
let ledger: Ledger;
const open = (): Ledger => openLedger(path, { bootId: "one" });
beforeEach(() => {
  path = join(directory, `${++number}.db`);
  ledger = open();
});

const put = (prefix: string, poolCidr = "10.0.0.0/24", state: "open" | "closed" = "open") =>
  ledger.pools.put({
    prefix: parsePrefix(prefix),
    uid: "u",
    pool: "p",
    poolUid: "up",
    poolCidr: parsePrefix(poolCidr),
    state,
    loan: undefined,
  });
const hold = (prefix: string, loan: string | undefined, wanted?: string) =>
  ledger.pools.hold(
    { block: prefix as Prefix, loan, node: "b", pod: loan === undefined ? undefined : "shop/web" },
    wanted === undefined ? undefined : parseIp(wanted),
  );
const take = (id: string, blocks: string[], wanted: string[] = []) =>
  ledger.allocate(request(id), blocksOf(...blocks), [], ipsOf(...wanted)).addresses[0];
function code(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    if (error instanceof WeftError) return error.code;
    throw error;
  }
  return undefined;
}

describe("addresses of a pool's blocks", () => {
  test("are all of them but the ends of the pool", () => {
    for (const b of ["10.0.0.0/30", "10.0.0.4/30", "10.0.0.252/30"]) put(b);
    const all = ["10.0.0.0/30", "10.0.0.4/30", "10.0.0.252/30"];
    expect(ledger.usage(blocksOf(...all)).map((u) => u.size)).toEqual([3, 4, 3]);
    const given = Array.from({ length: 10 }, (_, i) => take(`${i}`, all));
    const last = (n: number): IpAddress => `10.0.0.${n}` as IpAddress;
    expect(given).toEqual([1, 2, 3, 4, 5, 6, 7, 252, 253, 254].map(last));
    expect(code(() => take("more", all))).toBe("exhausted");
    expect(code(() => take("x", ["10.0.0.0/30"], ["10.0.0.0"]))).toBe("invalid");
    expect(code(() => take("x", ["10.0.0.252/30"], ["10.0.0.255"]))).toBe("invalid");
  });

  test("of IPv6 all but the all-zeros one", () => {
    put("fd00::/126", "fd00::/120");
    put("fd00::fc/126", "fd00::/120");
    expect(ledger.usage(blocksOf("fd00::/126", "fd00::fc/126")).map((u) => u.size)).toEqual([3, 4]);
    expect(take("a", ["fd00::fc/126"], ["fd00::ff"])).toBe("fd00::ff" as IpAddress);
    expect(take("b", ["fd00::/126"])).toBe("fd00::1" as IpAddress);
  });

  test("of a pool of one or two addresses are used whole, and a block may have none", () => {
    put("10.0.0.0/31", "10.0.0.0/31");
    expect(ledger.usage(blocksOf("10.0.0.0/31"))[0]?.size).toBe(2);
    put("10.1.0.0/32", "10.1.0.0/24");
    expect(ledger.usage(blocksOf("10.1.0.0/32"))[0]?.size).toBe(0);
    expect(code(() => take("a", ["10.1.0.0/32"]))).toBe("exhausted");
    put("10.1.0.1/32", "10.1.0.0/24");
    expect(take("a", ["10.1.0.1/32"])).toBe("10.1.0.1" as IpAddress);
  });

  test("of podCIDRs are as before, beside them", () => {
    put("10.0.0.4/30");
    expect(ledger.usage(blocksOf("10.0.0.4/30", "10.2.0.4/30")).map((u) => u.size)).toEqual([4, 2]);
  });
});

describe("what is held", () => {
  test("is nobody else's, over a restart too, and free when it is let go", () => {
    put("10.0.0.4/30");
    expect(hold("10.0.0.4/30", "loan-1")).toBe("10.0.0.4" as IpAddress);
    expect(hold("10.0.0.4/30", "loan-1")).toBe("10.0.0.4" as IpAddress);
    expect(hold("10.0.0.4/30", undefined)).toBe("10.0.0.5" as IpAddress);
    expect(code(() => take("x", ["10.0.0.4/30"], ["10.0.0.4"]))).toBe("busy");
    ledger.close();
    ledger = open();
    expect(ledger.pools.held().map((h) => [h.address, h.loan, h.node, h.pod])).toEqual([
      ["10.0.0.4" as IpAddress, "loan-1", "b", "shop/web"],
      ["10.0.0.5" as IpAddress, undefined, "b", undefined],
    ]);
    expect([take("a", ["10.0.0.4/30"]), take("b", ["10.0.0.4/30"])]).toEqual(ipsOf("10.0.0.6", "10.0.0.7"));
    expect(code(() => take("c", ["10.0.0.4/30"]))).toBe("exhausted");
    expect(code(() => hold("10.0.0.4/30", "loan-2"))).toBe("exhausted");
    expect(code(() => hold("10.0.0.4/30", "loan-2", "10.0.0.6"))).toBe("busy");
    expect(ledger.pools.letGo("10.0.0.4" as IpAddress)).toBe(true);
    expect(ledger.pools.letGo("10.0.0.4" as IpAddress)).toBe(false);
    expect(take("c", ["10.0.0.4/30"])).toBe("10.0.0.4" as IpAddress);
  });

  test("cannot be leased as well, nor the other way round, whatever the code does", () => {
    put("10.0.0.4/30");
    hold("10.0.0.4/30", "loan-1");
    take("a", ["10.0.0.4/30"]);
    ledger.close();
    const database = new Database(path);
    const sql = (text: string) => () => database.run(text);
    expect(sql("INSERT INTO lease VALUES ('10.0.0.4', 'a', 7)")).toThrow("held for another node");
    expect(sql("INSERT INTO held VALUES ('10.0.0.5', '10.0.0.4/30', 'l', 'b', NULL, 1)")).toThrow(
      "a workload has",
    );
    database.close();
  });

  test("says in words who it is", () => {
    put("10.0.0.4/30");
    hold("10.0.0.4/30", "loan-1");
    hold("10.0.0.4/30", undefined);
    expect(ledger.pools.heldBy("10.0.0.4" as IpAddress)).toBe("pod shop/web on node b");
    expect(ledger.pools.heldBy("10.0.0.5" as IpAddress)).toBe("the tunnel of node b");
    expect(ledger.pools.heldBy("10.0.0.6" as IpAddress)).toBeUndefined();
  });
});

describe("a block", () => {
  test("that is closed or lost gives nothing more, and can be opened again", () => {
    put("10.0.0.4/30");
    take("a", ["10.0.0.4/30"]);
    for (const state of ["closed", "lost"] as const) {
      ledger.pools.setState("10.0.0.4/30" as Prefix, state);
      expect(code(() => take("b", ["10.0.0.4/30"]))).toBe("exhausted");
      expect(code(() => hold("10.0.0.4/30", "l"))).toBe("exhausted");
    }
    ledger.pools.setState("10.0.0.4/30" as Prefix, "open");
    expect(take("b", ["10.0.0.4/30"])).toBe("10.0.0.5" as IpAddress);
  });

  test("remembers for which version its deletion was sent", () => {
    put("10.0.0.4/30");
    const of = () => ledger.pools.block("10.0.0.4/30" as Prefix);
    ledger.pools.setState("10.0.0.4/30" as Prefix, "closed", "77");
    ledger.pools.setState("10.0.0.4/30" as Prefix, "closed");
    ledger.close();
    ledger = open();
    expect(of()).toMatchObject({ state: "closed", deleting: "77" });
    put("10.0.0.4/30");
    expect(of()).toMatchObject({ state: "open", deleting: "77" });
  });

  test("is forgotten when it is empty, and not before", () => {
    put("10.0.0.4/30");
    take("a", ["10.0.0.4/30"]);
    const forget = () => ledger.pools.forget("10.0.0.4/30" as Prefix);
    expect(code(forget)).toBe("busy");
    ledger.release("a");
    hold("10.0.0.4/30", "l");
    expect(code(forget)).toBe("busy");
    for (const h of ledger.pools.held()) ledger.pools.letGo(h.address);
    expect(forget()).toBe(true);
    expect(forget()).toBe(false);
    expect(ledger.pools.blocks()).toEqual([]);
  });

  test("of one address is what another node lent", () => {
    const prefix = parsePrefix("10.0.0.0/32");
    const loan = { id: "l", lender: parsePrefix("10.0.0.0/30"), wanted: true };
    ledger.pools.put({
      prefix,
      uid: "u",
      pool: "p",
      poolUid: "up",
      poolCidr: parsePrefix("10.0.0.0/24"),
      state: "open",
      loan,
    });
    expect(ledger.pools.block(prefix)).toMatchObject({ loan });
    expect(take("a", ["10.0.0.0/32"])).toBe("10.0.0.0" as IpAddress);
    expect(code(() => take("b", ["10.0.0.0/32"]))).toBe("exhausted");
  });

  test("what a failed call would have changed is as it was", () => {
    put("10.0.0.4/30");
    const before = JSON.stringify([ledger.pools.blocks(), ledger.pools.held()]);
    expect(() =>
      ledger.pools.put(
        { ...(ledger.pools.blocks()[0] as never as Parameters<typeof ledger.pools.put>[0]), uid: "other" },
        [
          {
            address: "10.0.0.5" as IpAddress,
            block: "10.0.0.4/30" as Prefix,
            loan: "l",
            node: "b",
            pod: undefined,
          },
          {
            address: "10.0.0.5" as IpAddress,
            block: "10.0.0.4/30" as Prefix,
            loan: "m",
            node: "b",
            pod: undefined,
          },
        ],
      ),
    ).toThrow();
    expect(JSON.stringify([ledger.pools.blocks(), ledger.pools.held()])).toBe(before);
  });
});

test("through any sequence nobody has what another has, and nothing is lost", () => {
  const blocks = ["10.0.0.0/30", "10.0.0.4/30", "fd00::/126"];
  const id = fc.constantFrom("a", "b", "c", "d", "e");
  const step = fc.oneof(
    fc.record({ do: fc.constant("take" as const), id }),
    fc.record({ do: fc.constant("release" as const), id }),
    fc.record({ do: fc.constant("hold" as const), id, block: fc.constantFrom(...blocks) }),
    fc.record({ do: fc.constant("letGo" as const), id }),
    fc.record({
      do: fc.constant("state" as const),
      block: fc.constantFrom(...blocks),
      state: fc.constantFrom("open" as const, "closed" as const),
    }),
    fc.constant({ do: "reopen" as const }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      path = join(directory, `${++number}.db`);
      ledger = open();
      put("10.0.0.0/30", "10.0.0.0/29");
      put("10.0.0.4/30", "10.0.0.0/29");
      put("fd00::/126", "fd00::/126");
      for (const s of steps) {
        if (s.do === "take") code(() => ledger.allocate(request(s.id), blocksOf(...blocks), []));
        if (s.do === "release") ledger.release(s.id);
        if (s.do === "hold") code(() => hold(s.block, s.id));
        if (s.do === "letGo") {
          const held = ledger.pools.held().find((h) => h.loan === s.id);
          if (held !== undefined) ledger.pools.letGo(held.address);
        }
        if (s.do === "state") ledger.pools.setState(s.block as Prefix, s.state);
        if (s.do === "reopen") {
          ledger.close();
          ledger = open();
        }
        const leased = ledger.workloads().flatMap((w) => w.workload.addresses);
        const all = [...leased, ...ledger.pools.held().map((h) => h.address)];
        expect(new Set(all).size).toBe(all.length);
        expect(ledger.usage(blocksOf(...blocks)).reduce((n, u) => n + u.used, 0)).toBe(all.length);
      }
      for (const b of blocks) ledger.pools.setState(b as Prefix, "open");
      // 1-3, 4-6, and ::1-::3: 9 in all.
      const free = 9 - ledger.usage(blocksOf(...blocks)).reduce((n, u) => n + u.used, 0);
      let got = 0;
      for (const b of blocks)
        for (let i = 0; i < 4; i++) if (code(() => take(`fill-${b}-${i}`, [b])) === undefined) got++;
      expect(got).toBe(free);
      ledger.close();
    }),
    { numRuns: 60 },
  );
});
