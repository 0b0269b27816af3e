/** What every address manager must do: called by the tests of each implementation. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { FakeClock, type IpAddress, type Prefix, WeftError } from "@weft/base";
import fc from "fast-check";
import type { AddressManager } from "./address-manager.ts";
import { blocksOf, ipsOf, request } from "./fixtures.ts";
import { Model } from "./model.ts";

export interface Subject {
  readonly manager: AddressManager;
  /** The same content by a new instance; the same instance where nothing outlives one. */
  reopen(): void;
  end(): void;
}

export interface SubjectOptions {
  readonly clock: FakeClock;
  readonly remember?: number;
}

/** The code and message of what the action throws. */
function failure(action: () => unknown): WeftError {
  try {
    action();
  } catch (error) {
    if (error instanceof WeftError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

export function describeAddressManager(name: string, open: (options: SubjectOptions) => Subject): void {
  describe(name, () => {
    const clock = new FakeClock();
    let subject: Subject;
    beforeEach(() => {
      subject = open({ clock });
    });
    afterEach(() => subject.end());
    const allocate = (id: string, blocks: Prefix[], reserved: IpAddress[] = [], wanted?: IpAddress[]) =>
      subject.manager.allocate(request(id), blocks, reserved, wanted).addresses.join(" ");

    test("gives one address of each family, in the order of the blocks", () => {
      expect(allocate("a", blocksOf("fd00::/64", "10.0.0.0/24", "10.1.0.0/24"))).toBe("fd00::1 10.0.0.1");
      expect(allocate("b", blocksOf("10.0.0.0/24", "fd00::/64"))).toBe("10.0.0.2 fd00::2");
    });

    test("returns the whole workload, and finds it again", () => {
      const workload = subject.manager.allocate(request("a"), blocksOf("10.0.0.0/24"), []);
      expect(workload).toEqual({ ...request("a"), addresses: ipsOf("10.0.0.1"), since: clock.now() });
      expect(subject.manager.get("a")).toEqual({ workload, state: "allocating" });
      expect(subject.manager.workloads()).toEqual([{ workload, state: "allocating" }]);
      expect(subject.manager.get("b")).toBeUndefined();
    });

    test("leaves out the first, the last IPv4 and reserved addresses", () => {
      const v4 = blocksOf("10.0.0.0/29");
      const given = ["a", "b", "c", "d"].map((id) => allocate(id, v4, ipsOf("10.0.0.1", "10.0.0.4")));
      expect(given).toEqual(["10.0.0.2", "10.0.0.3", "10.0.0.5", "10.0.0.6"]);
      const error = failure(() => allocate("e", v4, ipsOf("10.0.0.1", "10.0.0.4")));
      expect(error.code).toBe("exhausted");
      expect(error.message).toContain("10.0.0.0/29 (4 of 6 in use, 2 reserved)");
      expect(error.hint).toBeDefined();
      const v6 = blocksOf("fd00::/126");
      expect(["f", "g", "h"].map((id) => allocate(id, v6))).toEqual(["fd00::1", "fd00::2", "fd00::3"]);
      expect(failure(() => allocate("i", v6)).code).toBe("exhausted");
    });

    test("uses blocks of one and two addresses whole", () => {
      const pairs = blocksOf("10.0.0.8/31", "fd00::8/127");
      expect([allocate("a", pairs), allocate("b", pairs)]).toEqual(["10.0.0.8 fd00::8", "10.0.0.9 fd00::9"]);
      const single = blocksOf("10.0.0.7/32", "fd00::7/128");
      expect(allocate("c", single)).toBe("10.0.0.7 fd00::7");
      expect(failure(() => allocate("d", single)).code).toBe("exhausted");
      expect(subject.manager.usage([...pairs, ...single]).map((u) => u.size)).toEqual([2, 2, 1, 1]);
    });

    test("fills the blocks of a family in order", () => {
      const blocks = blocksOf("10.0.0.8/30", "10.0.0.4/31", "10.0.0.0/30");
      const given = ["a", "b", "c", "d", "e", "f"].map((id) => allocate(id, blocks));
      expect(given).toEqual(["10.0.0.9", "10.0.0.10", "10.0.0.4", "10.0.0.5", "10.0.0.1", "10.0.0.2"]);
      expect(failure(() => allocate("g", blocks)).message).toMatch(
        /10\.0\.0\.8\/30 .*10\.0\.0\.4\/31 .*10\.0\.0\.0\/30/,
      );
    });

    test("is all or nothing", () => {
      const blocks = blocksOf("10.0.0.0/24", "fd00::1/128");
      allocate("a", blocks);
      expect(failure(() => allocate("b", blocks)).code).toBe("exhausted");
      expect(subject.manager.workloads()).toHaveLength(1);
      expect(subject.manager.usage(blocks).map((u) => u.used)).toEqual([1, 1]);
      expect(allocate("b", blocksOf("10.0.0.0/24"))).toBe("10.0.0.2");
    });

    test("without blocks there are no addresses", () => {
      expect(failure(() => allocate("a", [])).code).toBe("exhausted");
      expect(subject.manager.workloads()).toEqual([]);
    });

    test("an id is there once, in any state", () => {
      const blocks = blocksOf("10.0.0.0/24");
      allocate("a", blocks);
      expect(failure(() => allocate("a", blocks)).code).toBe("exists");
      subject.manager.beginRelease("a");
      expect(failure(() => allocate("a", blocks)).code).toBe("exists");
      expect(subject.manager.usage(blocks)[0]?.used).toBe(1);
    });

    test("goes from allocating to ready to releasing to nothing", () => {
      const m = subject.manager;
      const states = () => m.workloads().map((e) => `${e.workload.id} ${e.state}`);
      allocate("a", blocksOf("10.0.0.0/24"));
      allocate("b", blocksOf("10.0.0.0/24"));
      m.markReady("a");
      m.markReady("a");
      expect(states()).toEqual(["a ready", "b allocating"]);
      expect(m.beginRelease("a")).toBe(true);
      expect(m.beginRelease("a")).toBe(true);
      expect(states()).toEqual(["a releasing", "b allocating"]);
      expect(failure(() => m.markReady("a")).code).toBe("conflict");
      expect(m.release("a")).toBe(true);
      expect(m.release("a")).toBe(false);
      expect(m.beginRelease("a")).toBe(false);
      expect(failure(() => m.markReady("a")).code).toBe("not-found");
      expect(m.release("b")).toBe(true);
      expect(states()).toEqual([]);
    });

    test("reuses what was freed the longest ago, and only when nothing is unused", () => {
      const blocks = blocksOf("10.0.0.0/29");
      for (const id of ["1", "2", "3", "4", "5"]) allocate(id, blocks);
      for (const id of ["4", "1", "3"]) subject.manager.release(id);
      subject.reopen();
      const given = ["a", "b", "c", "d"].map((id) => allocate(id, blocks));
      expect(given).toEqual(["10.0.0.6", "10.0.0.4", "10.0.0.1", "10.0.0.3"]);
      expect(failure(() => allocate("e", blocks)).code).toBe("exhausted");
    });

    test("gives a wanted address, or says why not", () => {
      const blocks = blocksOf("10.0.0.0/24", "fd00::/64");
      expect(allocate("a", blocks, [], ipsOf("10.0.0.2"))).toBe("10.0.0.2 fd00::1");
      expect([allocate("b", blocks), allocate("c", blocks)]).toEqual([
        "10.0.0.1 fd00::2",
        "10.0.0.3 fd00::3",
      ]);
      const code = (...wanted: string[]) =>
        failure(() => allocate("z", blocks, ipsOf("10.0.0.9"), ipsOf(...wanted))).code;
      expect(code("10.0.0.2")).toBe("busy");
      expect(code("10.0.0.9")).toBe("invalid");
      expect(code("10.0.0.0")).toBe("invalid");
      expect(code("10.0.0.255")).toBe("invalid");
      expect(code("10.0.1.1")).toBe("invalid");
      expect(code("10.0.0.20", "10.0.0.21")).toBe("invalid");
      expect(failure(() => allocate("z", blocksOf("10.0.0.0/24"), [], ipsOf("fd00::9"))).code).toBe(
        "invalid",
      );
      expect(subject.manager.get("z")).toBeUndefined();
    });

    test("what was used before the cursor came there is not unused", () => {
      const blocks = blocksOf("10.0.0.0/29");
      allocate("a", blocks, [], ipsOf("10.0.0.2"));
      subject.manager.release("a");
      const given = ["a", "b", "c", "d", "e", "f"].map((id) => allocate(id, blocks));
      const ascending = ["10.0.0.1", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2"];
      expect(given).toEqual(ascending);
    });

    test("what was forgotten was freed before all that is remembered", () => {
      const s = open({ clock, remember: 2 });
      const blocks = blocksOf("10.0.0.0/29");
      const take = (id: string) => s.manager.allocate(request(id), blocks, []).addresses[0];
      const all = ["1", "2", "3", "4", "5", "6"];
      for (const id of all) take(id);
      for (const id of ["2", "1", "4", "3"]) s.manager.release(id);
      s.reopen();
      expect(["a", "b", "c", "d"].map(take)).toEqual(ipsOf("10.0.0.1", "10.0.0.2", "10.0.0.4", "10.0.0.3"));
      s.end();
    });

    test("a /64 is not searched, and sizes are capped", () => {
      const blocks = blocksOf("fd00::/64");
      expect(subject.manager.usage(blocks)).toEqual([
        { prefix: "fd00::/64" as Prefix, used: 0, size: Number.MAX_SAFE_INTEGER },
      ]);
      for (let i = 0; i < 300; i++) {
        allocate("a", blocks);
        subject.manager.release("a");
      }
      expect(allocate("a", blocks)).toBe("fd00::12d");
    });

    test("an address that was reserved once is not lost", () => {
      const blocks = blocksOf("10.0.0.0/30");
      expect(allocate("a", blocks, ipsOf("10.0.0.1"))).toBe("10.0.0.2");
      expect(allocate("b", blocks)).toBe("10.0.0.1");
    });

    test("an address is not lost, nor given twice, when a block grows under it", () => {
      allocate("a", blocksOf("10.0.0.0/30"));
      const larger = blocksOf("10.0.0.0/29");
      const given = ["b", "c", "d", "e", "f"].map((id) => allocate(id, larger));
      expect(given).toEqual(["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
      subject.manager.release("a");
      expect(allocate("g", larger)).toBe("10.0.0.1");
    });

    test("follows a simple model through any sequence", () => {
      fc.assert(
        fc.property(sequences(), ({ blocks, reserved, steps }) => {
          const s = open({ clock });
          try {
            const model = new Model(blocks, reserved);
            for (const step of steps) {
              if (step.do === "reopen") s.reopen();
              else expect(act(s.manager, step, blocks, reserved)).toEqual(model.act(step));
            }
            expect(s.manager.workloads().map((e) => [e.workload.id, e.state, e.workload.addresses])).toEqual(
              model.list(),
            );
            expect(s.manager.usage(blocks).map((u) => u.used)).toEqual(model.used());
          } finally {
            s.end();
          }
        }),
        { numRuns: 60 },
      );
    });

    test("with a short memory no address is given twice and none is lost", () => {
      fc.assert(
        fc.property(sequences(), fc.integer({ min: 0, max: 3 }), ({ blocks, steps }, remember) => {
          const s = open({ clock, remember });
          try {
            for (const [i, step] of steps.entries()) {
              // Reserved addresses change all the time here.
              const reserved = blocks.flatMap((b) => ipsOf(b.split("/")[0] as string));
              if (step.do === "reopen") s.reopen();
              else act(s.manager, step, blocks, i % 2 === 0 ? reserved : []);
              const held = s.manager.workloads().flatMap((e) => e.workload.addresses);
              expect(new Set(held).size).toBe(held.length);
            }
            const sizes = [4, 6].map((f) =>
              s.manager
                .usage(blocks.filter((b) => b.includes(":") === (f === 6)))
                .reduce((n, u) => n + u.size - u.used, 0),
            );
            for (const [i, free] of sizes.entries()) {
              const own = blocks.filter((b) => b.includes(":") === (i === 1));
              for (let n = 0; n < free; n++) s.manager.allocate(request(`fill-${i}-${n}`), own, []);
            }
            expect(s.manager.usage(blocks).every((u) => u.used === u.size)).toBe(true);
          } finally {
            s.end();
          }
        }),
        { numRuns: 40 },
      );
    });
  });
}

export type Step =
  | { do: "allocate"; id: string; wanted: readonly IpAddress[] }
  | { do: "markReady" | "beginRelease" | "release"; id: string }
  | { do: "reopen" };

function sequences() {
  const id = fc.constantFrom("a", "b", "c", "d", "e", "f", "g", "h");
  return fc
    .record({
      v4: fc.subarray(blocksOf("10.0.0.0/30", "10.0.1.8/31", "10.0.2.0/29"), { minLength: 0 }),
      v6: fc.subarray(blocksOf("fd00::/126", "fd00:1::5/128", "fd00:2::/125"), { minLength: 1 }),
    })
    .chain(({ v4, v6 }) => {
      const blocks = [...v4, ...v6];
      const wanted = fc.subarray(ipsOf("10.0.0.2", "10.0.2.3", "fd00::3", "fd00:2::2"), { maxLength: 2 });
      const steps: fc.Arbitrary<Step> = fc.oneof(
        {
          weight: 4,
          arbitrary: fc.record({ do: fc.constant("allocate" as const), id, wanted: fc.constant([]) }),
        },
        { weight: 1, arbitrary: fc.record({ do: fc.constant("allocate" as const), id, wanted }) },
        {
          weight: 4,
          arbitrary: fc.record({ do: fc.constantFrom("markReady" as const, "beginRelease", "release"), id }),
        },
        { weight: 1, arbitrary: fc.constant({ do: "reopen" as const }) },
      );
      return fc.record({
        blocks: fc.constant(blocks),
        reserved: fc.subarray(ipsOf("10.0.0.1", "10.0.2.4", "fd00::2", "fd00:2::1")),
        steps: fc.array(steps, { maxLength: 60 }),
      });
    });
}

/** What the step answers: addresses, a truth value, nothing, or the code of its error. */
function act(
  m: AddressManager,
  step: Exclude<Step, { do: "reopen" }>,
  blocks: Prefix[],
  reserved: IpAddress[],
): unknown {
  try {
    if (step.do === "allocate") return m.allocate(request(step.id), blocks, reserved, step.wanted).addresses;
    return m[step.do](step.id);
  } catch (error) {
    if (error instanceof WeftError) return error.code;
    throw error;
  }
}
