/** nftables in memory: the same checks and errors as the real one, on sets declared by scripts. */
import { compareIp, type Family, WeftError } from "@weft/base";
import type { NftStep, RawElement } from "../nftables/batch.ts";
import { checkLayout, setError, unsupported } from "../nftables/check.ts";
import { NF_DROP, NFT_JUMP } from "../nftables/constants.ts";
import type { Verdict } from "../nftables/decode.ts";
import { foreignDrop, isOwn, reachesDrop, seesForwarded } from "../nftables/drops.ts";
import { decodeFields, layoutOf } from "../nftables/layout.ts";
import { checkRangeSet, checkRanges, effectOf } from "../nftables/ranges.ts";
import { describeSet, layoutOfElements, type SetName } from "../nftables/transaction.ts";
import type {
  BaseChain,
  ForeignDrop,
  IpRange,
  Nftables,
  NftFamily,
  SetElement,
  SetField,
  TableContents,
} from "../port.ts";
import { applySteps, rawElementsOf, verdictsOf } from "./commit.ts";
import { changedTables } from "./nftables-watch.ts";
import type { Recorder } from "./recorder.ts";
import { encodeText, type FakeSet, outcomeOf, type Tables, tableKey } from "./ruleset.ts";
import { applyScript } from "./script.ts";
import { fail } from "./state.ts";

interface Ruleset {
  tables: Tables;
  generation: number;
  /** Hears which table has changed. */
  readonly changed: (family: NftFamily, table: string) => void;
}

export class FakeNftables implements Nftables {
  readonly #path: string;
  readonly #recorder: Recorder | undefined;
  readonly #scripts: string[] | undefined;
  readonly #ruleset: Ruleset;

  constructor(
    path: string,
    recorder: Recorder | undefined,
    scripts: string[] | undefined,
    ruleset: Ruleset = { tables: new Map(), generation: 1, changed: () => {} },
  ) {
    this.#path = path;
    this.#recorder = recorder;
    this.#scripts = scripts;
    this.#ruleset = ruleset;
  }

  /** The same ruleset in the hands of somebody else, whose calls are not recorded. */
  outsider(): FakeNftables {
    return new FakeNftables(this.#path, undefined, undefined, this.#ruleset);
  }

  async run(script: string): Promise<void> {
    this.#write("run", [script]);
    const before = this.#ruleset.tables;
    this.#ruleset.tables = applyScript(before, script);
    for (const { family, table } of changedTables(before, this.#ruleset.tables)) {
      this.#ruleset.changed(family, table);
    }
    this.#scripts?.push(script);
  }

  commit(family: NftFamily, table: string, steps: readonly NftStep[]): void {
    if (steps.length === 0) return;
    this.#write("commit", [family, table, steps]);
    this.#ruleset.tables = applySteps(this.#ruleset.tables, family, table, steps);
    this.#ruleset.changed(family, table);
  }

  generation(): number {
    this.#recorder?.failIfTold("generation");
    return this.#ruleset.generation;
  }

  contents(family: NftFamily, table: string): TableContents | undefined {
    this.#recorder?.failIfTold("contents");
    const found = this.#ruleset.tables.get(tableKey(family, table));
    if (found === undefined) return undefined;
    return {
      comment: found.comment,
      dormant: found.dormant,
      sets: [...found.sets].map(([set, { elements, raw }]) => ({
        set,
        size: elements.size + (raw?.size ?? 0),
      })),
      chains: [...found.chains].map(([chain, { base }]) => ({ chain, base })),
      rules: [...found.chains].flatMap(([chain, { rules }]) =>
        rules.map((rule) => ({ chain, comment: /comment "([^"]*)"$/.exec(rule)?.[1] })),
      ),
    };
  }

  rawElements(family: NftFamily, table: string, set: string): RawElement[] {
    this.#recorder?.failIfTold("elements");
    return rawElementsOf(this.#set({ family, table, set }));
  }

  tableExists(family: NftFamily, table: string): boolean {
    this.#recorder?.failIfTold("tableExists");
    return this.#ruleset.tables.has(tableKey(family, table));
  }

  baseChains(): BaseChain[] {
    this.#recorder?.failIfTold("baseChains");
    return [...this.#ruleset.tables.values()].flatMap((table) =>
      [...table.chains.values()].map((chain) => chain.base).filter((base) => base !== undefined),
    );
  }

  ruleCount(family: NftFamily, table: string): number {
    this.#recorder?.failIfTold("ruleCount");
    const chains = this.#ruleset.tables.get(tableKey(family, table))?.chains.values() ?? [];
    return [...chains].reduce((sum, chain) => sum + chain.rules.length, 0);
  }

  foreignDrops(ownTable: string): ForeignDrop[] {
    this.#recorder?.failIfTold("foreignDrops");
    const drops: ForeignDrop[] = [];
    for (const table of this.#ruleset.tables.values()) {
      if (table.dormant || isOwn(table.name, ownTable)) continue;
      const rules = [...table.chains].flatMap(([name, c]) => c.rules.map((rule) => outcomeOf(name, rule)));
      const verdicts = (map: string): Verdict[] => {
        const set = table.sets.get(map);
        if (set?.raw !== undefined) return verdictsOf(set);
        return [...(set?.texts ?? [])].flatMap((text) => {
          const { drops: drop, jumps } = outcomeOf("", text);
          const chains = jumps.map((chain) => ({ code: NFT_JUMP, chain }));
          return drop ? [...chains, { code: NF_DROP, chain: undefined }] : chains;
        });
      };
      for (const { base } of table.chains.values()) {
        if (base === undefined || !seesForwarded(base)) continue;
        const row = foreignDrop(base, reachesDrop(base.name, rules, verdicts));
        if (row !== undefined) drops.push(row);
      }
    }
    return drops;
  }

  addElements(family: NftFamily, table: string, set: string, elements: readonly SetElement[]): void {
    if (elements.length === 0) return;
    this.#write("addElements", [family, table, set, elements]);
    const name = { family, table, set };
    const found = this.#set(name);
    const layout = layoutOfElements(elements);
    checkLayout(name, found.info, layout, true);
    const after = new Map(found.elements);
    const given = new Map<string, string | undefined>();
    for (const element of elements) {
      const key = encodeText(layout.key, element.key);
      if ((element.value === undefined) !== (layout.value === undefined)) {
        throw new WeftError("invalid", "some elements have a value and some have none", {
          object: describeSet(name),
        });
      }
      const { value: valueLayout } = layout;
      const value =
        element.value === undefined || valueLayout === undefined
          ? undefined
          : encodeText(valueLayout, element.value);
      if (given.has(key) && given.get(key) !== value) {
        throw new WeftError("invalid", `${describeSet(name)}: a key comes twice, with different values`, {
          object: describeSet(name),
        });
      }
      given.set(key, value);
      after.set(key, value);
    }
    if (after.size > found.size) {
      throw setError(fail("ENFILE", "NFT_MSG_NEWSETELEM", describeSet(name)), name);
    }
    const isNews = !Bun.deepEquals(found.elements, after);
    found.elements = after;
    if (isNews) this.#ruleset.changed(family, table);
  }

  deleteElements(family: NftFamily, table: string, set: string, elements: readonly SetElement[]): void {
    if (elements.length === 0) return;
    this.#write("deleteElements", [family, table, set, elements]);
    const name = { family, table, set };
    const layout = { key: layoutOfElements(elements).key, value: undefined };
    const found = this.#ruleset.tables.get(tableKey(family, table))?.sets.get(set);
    if (found === undefined) return;
    checkLayout(name, found.info, layout, false);
    const keys = elements.map((element) => encodeText(layout.key, element.key));
    const gone = keys.filter((key) => found.elements.delete(key));
    if (gone.length > 0) this.#ruleset.changed(family, table);
  }

  presentElements(
    family: NftFamily,
    table: string,
    set: string,
    elements: readonly SetElement[],
  ): SetElement[] {
    this.#recorder?.failIfTold("elements");
    if (elements.length === 0) return [];
    const name = { family, table, set };
    const layout = { key: layoutOfElements(elements).key, value: undefined };
    const found = this.#set(name);
    checkLayout(name, found.info, layout, false);
    return elements.filter((element) => found.elements.has(encodeText(layout.key, element.key)));
  }

  elements(
    family: NftFamily,
    table: string,
    set: string,
    key: readonly SetField["type"][],
    addressFamily: Family,
    value?: readonly SetField["type"][],
  ): SetElement[] {
    this.#recorder?.failIfTold("elements");
    const name = { family, table, set };
    const keyLayout = layoutOf(key, addressFamily);
    const valueLayout = value === undefined ? undefined : layoutOf(value, addressFamily);
    const found = this.#set(name);
    checkLayout(name, found.info, { key: keyLayout, value: valueLayout }, valueLayout !== undefined);
    return [...found.elements].map(([keyText, valueText]) => {
      const fields = decodeFields(keyLayout, Buffer.from(keyText, "latin1"));
      if (valueLayout === undefined) return { key: fields };
      if (valueText === undefined) throw unsupported(name, "has an element without a value");
      return { key: fields, value: decodeFields(valueLayout, Buffer.from(valueText, "latin1")) };
    });
  }

  ranges(family: NftFamily, table: string, set: string, addressFamily: Family): IpRange[] {
    this.#recorder?.failIfTold("ranges");
    const name = { family, table, set };
    const found = this.#set(name);
    checkRangeSet(name, found.info, addressFamily);
    return [...(found.ranges ?? [])].sort((a, b) => compareIp(a.first, b.first));
  }

  changeRanges(
    family: NftFamily,
    table: string,
    set: string,
    remove: readonly IpRange[],
    add: readonly IpRange[],
  ): void {
    if (remove.length + add.length === 0) return;
    this.#write("changeRanges", [family, table, set, remove, add]);
    const name = { family, table, set };
    const addressFamily = checkRanges(name, remove, add);
    const known = this.#ruleset.tables.get(tableKey(family, table))?.sets.has(set);
    if (known !== true && add.length === 0) return;
    const found = this.#set(name);
    checkRangeSet(name, found.info, addressFamily);
    const held = found.ranges ?? [];
    const effect = effectOf(name, held, remove, add);
    found.ranges = [...held.filter((range) => !effect.remove.includes(range)), ...effect.add];
    if (effect.remove.length + effect.add.length > 0) this.#ruleset.changed(family, table);
  }

  #set(name: SetName): FakeSet {
    const set = this.#ruleset.tables.get(tableKey(name.family, name.table))?.sets.get(name.set);
    if (set === undefined) throw setError(fail("ENOENT", "NFT_MSG_GETSET", describeSet(name)), name);
    return set;
  }

  #write(op: string, args: readonly unknown[]): void {
    this.#recorder?.write({ namespace: this.#path, op, args });
    this.#ruleset.generation++;
  }
}
