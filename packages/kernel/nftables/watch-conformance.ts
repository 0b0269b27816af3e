/** What every watch of rulesets does, as one suite: the real one and the in-memory one both pass it. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { IpAddress } from "@weft/base";
import type { KernelEvent, Nftables, SetElement } from "../port.ts";

export interface WatchedNftables {
  /** Without any table. */
  readonly nft: Nftables;
  /** The same ruleset, in the hands of somebody else. */
  readonly outsider: Nftables;
  watch(listener: (event: KernelEvent) => void): () => void;
  cleanup(): void;
}

const TABLES = `
table inet one {
  set s { type ipv4_addr; }
  chain c {
    accept
  }
}
table arp two {
}
`;
const element = (n: number): SetElement => ({ key: [{ type: "ip", value: `10.0.0.${n}` as IpAddress }] });

export function nftablesWatchConformance(name: string, make: () => WatchedNftables): void {
  describe(`${name} as a watch of nftables`, () => {
    let made: WatchedNftables;
    let events: KernelEvent[];
    let stop: () => void = () => {};
    beforeEach(async () => {
      made = make();
      await made.nft.run(TABLES);
      events = [];
      stop = made.watch((event) => events.push(event));
    });
    afterEach(() => {
      stop();
      made.cleanup();
    });

    /** Exactly these tables, in any order and however often each, by what `change` does. */
    async function hears(tables: readonly string[], change: () => unknown): Promise<void> {
      events.length = 0;
      await change();
      const seen = (): string[] => [
        ...new Set(events.map((e) => (e.kind === "nftables" ? `${e.family} ${e.table}` : e.kind))),
      ];
      for (let i = 0; i < 6000 && seen().length < tables.length; i++) await Bun.sleep(5);
      await Bun.sleep(15);
      expect(seen().sort()).toEqual([...tables].sort());
    }

    test.each([
      ["a table", "add table ip6 three", ["ip6 three"]],
      ["a table that goes", "delete table arp two", ["arp two"]],
      ["a chain", "add chain inet one d", ["inet one"]],
      ["a rule", "add rule inet one c drop", ["inet one"]],
      ["a chain that is flushed", "flush chain inet one c", ["inet one"]],
      ["a set", "add set inet one t { type mark; }", ["inet one"]],
      ["an element of a script", "add element inet one s { 10.0.0.9 }", ["inet one"]],
      ["several tables", "add chain inet one d\nadd chain arp two d", ["inet one", "arp two"]],
      ["everything", "flush ruleset", ["inet one", "arp two"]],
    ])("hears of %s", (_, script, tables) => hears(tables, () => made.outsider.run(script)));

    test("hears of elements, its own writer's too", async () => {
      await hears(["inet one"], () => made.nft.addElements("inet", "one", "s", [element(1), element(2)]));
      await hears(["inet one"], () => made.outsider.deleteElements("inet", "one", "s", [element(1)]));
    });

    test("hears of ranges", async () => {
      const script = "add set inet one r { type ipv4_addr; flags interval; }";
      await hears(["inet one"], () => made.nft.run(script));
      const range = { first: "10.0.0.1" as IpAddress, last: "10.0.0.7" as IpAddress };
      await hears(["inet one"], () => made.outsider.changeRanges("inet", "one", "r", [], [range]));
      await hears(["inet one"], () => made.outsider.changeRanges("inet", "one", "r", [range], []));
    });

    test("hears nothing of what changes nothing", async () => {
      await hears(["inet one"], () => made.nft.addElements("inet", "one", "s", [element(1)]));
      await hears([], () => {
        made.nft.addElements("inet", "one", "s", [element(1)]);
        made.nft.deleteElements("inet", "one", "s", [element(2)]);
        made.nft.elements("inet", "one", "s", ["ip"], 4);
      });
    });

    test("hears nothing of what is refused", async () => {
      await hears([], () => made.nft.run("add chain inet one d\nadd chain inet none d").catch(() => {}));
    });

    test("stops", async () => {
      stop();
      await hears([], () => made.nft.run("add chain inet one d"));
    });
  });
}
