/** What this node wrote and what the watch tells, in any order: never older than what was written, in the end what is there. */
import { expect, test } from "bun:test";
import { parsePrefix } from "@weft/base";
import type { IpBlock } from "@weft/model";
import fc from "fast-check";
import { ipBlockObject } from "../ip-block.ts";
import { BlockRows, blockRow } from "./block-rows.ts";
import { HeldRows } from "./held-rows.ts";
import type { KubernetesObject } from "./resource.ts";

const NAME = "10-8-0-0-26";
const block = (uid: string, version: number, node: string): IpBlock => ({
  name: NAME,
  uid,
  resourceVersion: String(version),
  prefix: parsePrefix("10.8.0.0/26"),
  pool: "p",
  poolUid: "u",
  node,
  tunnelAddress: undefined,
  loans: [],
  allocations: [],
  reported: undefined,
  origin: { kind: "IPBlock", name: NAME, uid },
});
const object = (b: IpBlock): KubernetesObject => ipBlockObject(b) as KubernetesObject;

test("of others only a little is kept; what concerns the node is kept whole", () => {
  const loan = { id: "1", node: "me", address: "10.8.0.7" };
  const raw = object(block("u", 7, "n2"));
  const status = { used: 3, free: 59, allocations: [{ address: "10.8.0.7" }] };
  const other = blockRow({ ...raw, status }, undefined, "me");
  expect(other).toMatchObject({ used: 3, free: 59, node: "n2", full: undefined });
  const lent = blockRow({ ...raw, spec: { ...(raw["spec"] as object), loans: [loan] }, status }, other, "me");
  expect(lent.full).toMatchObject({ resourceVersion: "7", allocations: [] });
  expect(lent.rows.map((r) => `${r.prefix} ${r.node} ${r.lentFrom}`)).toEqual([
    "10.8.0.0/26 n2 undefined",
    "10.8.0.7/32 me 10.8.0.0/26",
  ]);
  // A report changes numbers, and the rows are the very same ones.
  const later = blockRow({ ...raw, status: { ...status, used: 4 } }, other, "me");
  expect(later.rows).toBe(other.rows);
});

test("a block that is one address, and lent, is its borrower's alone; without a node only loans are left", () => {
  const one = { ...block("u", 1, "n1"), name: "10-8-0-5-32", prefix: parsePrefix("10.8.0.5/32") };
  const spec = { ...ipBlockObject(one).spec, loans: [{ id: "1", node: "n2", address: "10.8.0.5" }] };
  expect(blockRow({ ...object(one), spec }, undefined, "n1").rows).toMatchObject([{ node: "n2" }]);
  const gone = { ...ipBlockObject(block("u", 1, "n1")).spec, node: undefined };
  expect(blockRow({ ...object(block("u", 1, "n1")), spec: gone }, undefined, "n1").rows).toEqual([]);
});

/** The server, a watch that is some events behind, and this node, which writes and deletes too. */
type Step =
  | { readonly do: "write" | "other" | "remove" | "other-removes" | "deliver" | "bookmark" }
  | { readonly do: "list" };

test("whatever the order, nothing older than what was written counts, and at last what is there does", () => {
  const steps = fc.array(
    fc.constantFrom<Step["do"]>(
      "write",
      "other",
      "remove",
      "other-removes",
      "deliver",
      "deliver",
      "bookmark",
      "list",
    ),
    { maxLength: 40 },
  );
  fc.assert(
    fc.property(steps, (todo) => {
      const rows = new BlockRows("me");
      const held = new HeldRows<ReturnType<typeof blockRow>>((o, before) => blockRow(o, before, "me"));
      let version = 1;
      let uids = 0;
      let there: IpBlock | undefined;
      let seen = 1;
      let lists = 0;
      /** Version of the last write of this node that was answered, and what it left. */
      let own: { version: number; there: boolean; uid: string } | undefined;
      const queue: { deleted: boolean; object: KubernetesObject; version: number }[] = [];
      const happen = (next: IpBlock | undefined): void => {
        version++;
        if (next === undefined && there !== undefined) {
          queue.push({
            deleted: true,
            object: object({ ...there, resourceVersion: String(version) }),
            version,
          });
          there = undefined;
        } else if (next !== undefined) {
          there = { ...next, resourceVersion: String(version) };
          queue.push({ deleted: false, object: object(there), version });
        }
      };
      const deliver = (): void => {
        const event = queue.shift();
        if (event === undefined) return;
        const change = held.apply(event.object, event.deleted);
        seen = Math.max(seen, event.version);
        if (change !== undefined) rows.tell(NAME, change.after, change.before);
        rows.settle(String(seen), lists, lists);
      };
      const list = (): void => {
        queue.length = 0;
        const replacement = held.replacement();
        if (there !== undefined) replacement.add(object(there));
        for (const { after, before } of replacement.finish(String(version))) rows.tell(NAME, after, before);
        seen = version;
        lists++;
        rows.settle(String(seen), lists, lists);
      };
      const check = (): void => {
        if (own === undefined || seen >= own.version) return;
        // The watch has not come that far: what was written counts, or something newer.
        const now = rows.get(NAME);
        if (own.there) expect(Number(now?.version)).toBeGreaterThanOrEqual(own.version);
        else expect(now?.uid).not.toBe(own.uid);
      };
      for (const step of todo) {
        if (step === "write") {
          happen({ ...(there ?? block(`u${++uids}`, 0, "me")), node: "me" });
          rows.write(there as unknown as IpBlock);
          own = { version, there: true, uid: (there as unknown as IpBlock).uid };
        } else if (step === "other") happen({ ...(there ?? block(`u${++uids}`, 0, "n2")), node: "n2" });
        else if (step === "remove" && there !== undefined) {
          const { uid } = there as IpBlock;
          // Who removes a block knows it: by the watch, or because it has just been read, which is told too.
          if (rows.get(NAME)?.uid !== uid) rows.write(there);
          happen(undefined);
          rows.remove(NAME, uid);
          own = { version, there: false, uid };
        } else if (step === "other-removes") happen(undefined);
        else if (step === "deliver") deliver();
        else if (step === "list") list();
        check();
      }
      while (queue.length > 0) deliver();
      rows.settle(String(version + 1), lists, lists);
      expect(rows.get(NAME)?.version).toBe((there as IpBlock | undefined)?.resourceVersion);
      expect([...rows.values()].length).toBe(there === undefined ? 0 : 1);
    }),
    { numRuns: 500 },
  );
});
