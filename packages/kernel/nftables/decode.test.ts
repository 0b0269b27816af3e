import { describe, expect, test } from "bun:test";
import { type IpAddress, isInvalid, isNotFound, isUnsupported } from "@weft/base";
import fc from "fast-check";
import { NetlinkWriter, readMessages } from "../netlink/index.ts";
import { commentOf, encodeBatch, type RawElement } from "./batch.ts";
import {
  decodeBaseChain,
  decodeChain,
  decodeElements,
  decodeGeneration,
  decodeRawElements,
  decodeRule,
  decodeRuleComment,
  decodeSet,
  decodeSetSize,
  decodeTable,
  generationOf,
} from "./decode.ts";
import { reachesDrop } from "./drops.ts";
import { goTo } from "./expressions.ts";
import { runScript, scriptError } from "./script.ts";
import { elementTransactions, layoutOfElements, nfgenmsg } from "./transaction.ts";

const DECODERS = [
  decodeBaseChain,
  decodeChain,
  decodeElements,
  decodeGeneration,
  decodeRawElements,
  decodeRule,
  decodeRuleComment,
  decodeSet,
  decodeSetSize,
  decodeTable,
  generationOf,
];
const message = (payload: Uint8Array) => ({ type: 0, flags: 0, sequence: 0, port: 0, payload });
const NAME = { family: "inet", table: "weft", set: "one" } as const;

describe("decoders", () => {
  test("bad bytes are invalid, never anything else", () => {
    const corpus = [
      "",
      "01",
      "01000000",
      "010000000400",
      "0100000004000300ff",
      "01000000ffff0100",
      "63000000",
    ];
    for (const decode of DECODERS) {
      for (const text of corpus) {
        try {
          decode(message(Buffer.from(text, "hex")));
        } catch (error) {
          expect(isInvalid(error)).toBeTrue();
        }
      }
      expect(() => decode(message(new Uint8Array(2)))).toThrow();
    }
  });

  test("elements of transactions are what they were written from, and invalid when they are spoilt", () => {
    const elements: RawElement[] = [
      { key: Uint8Array.of(1, 2, 3, 4) },
      { key: Uint8Array.of(1, 2, 3, 5), intervalEnd: true },
      { key: Uint8Array.of(1), keyEnd: Uint8Array.of(9) },
      { key: Uint8Array.of(1, 2), value: Uint8Array.of(7, 7, 7) },
      { key: Uint8Array.of(1, 2), value: goTo("chain") },
      { key: Uint8Array.of(1, 2), value: Uint8Array.of(7), timeout: 3000, expiration: 1000 },
    ];
    const { bytes } = encodeBatch("inet", "weft", [{ do: "add", set: "one", elements }]);
    const good = readMessages(bytes)[1]!.payload;
    expect(decodeRawElements(message(good))).toEqual(elements);
    fc.assert(
      fc.property(
        fc.nat({ max: good.length }),
        fc.array(fc.tuple(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 })), { maxLength: 4 }),
        (length, changes) => {
          const spoilt = Uint8Array.from(good);
          for (const [at, value] of changes) spoilt[at] = value;
          try {
            decodeRawElements(message(spoilt.subarray(0, length)));
          } catch (error) {
            expect(isInvalid(error)).toBeTrue();
          }
        },
      ),
    );
  });

  test("comments in user data, among other things and spoilt", () => {
    expect(commentOf(undefined)).toBeUndefined();
    expect(commentOf(Uint8Array.of(0, 3, 65, 66, 0))).toBe("AB");
    expect(commentOf(Uint8Array.of(1, 2, 9, 9, 0, 2, 65, 0))).toBe("A");
    expect(commentOf(Uint8Array.of(0, 9, 65))).toBeUndefined();
    expect(commentOf(Uint8Array.of(0))).toBeUndefined();
  });

  test("cut and changed messages are decoded or invalid", () => {
    const element = { key: [{ type: "ip", value: "10.0.0.1" as IpAddress } as const] };
    const elements = [element, element, element];
    const layout = layoutOfElements(elements);
    const [transaction] = elementTransactions(NAME, "add", layout, elements, 1 << 20);
    const good = readMessages(transaction!)[1]!.payload;
    expect(decodeElements(message(good)).map((e) => [...e.key!])).toEqual([
      [10, 0, 0, 1],
      [10, 0, 0, 1],
      [10, 0, 0, 1],
    ]);
    fc.assert(
      fc.property(
        fc.nat({ max: good.length }),
        fc.array(fc.tuple(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 })), { maxLength: 4 }),
        (length, changes) => {
          const bytes = Uint8Array.from(good);
          for (const [at, value] of changes) bytes[at] = value;
          for (const decode of DECODERS) {
            try {
              decode(message(bytes.subarray(0, length)));
            } catch (error) {
              if (!isInvalid(error)) throw error;
            }
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  test("families and hooks without a name are invalid", () => {
    const chain = (family: number, hook: number) =>
      new NetlinkWriter()
        .begin(0, 0)
        .raw(nfgenmsg(family))
        .string(1, "t")
        .string(3, "c")
        .string(7, "filter")
        .nest(4, (w) => w.u32Be(1, hook).u32Be(2, 0))
        .finish()
        .subarray(16);
    expect(decodeBaseChain(message(chain(1, 2)))?.hook).toBe("forward");
    expect(decodeBaseChain(message(chain(3, 1)))?.hook).toBe("output");
    expect(decodeBaseChain(message(chain(5, 1)))?.hook).toBe("egress");
    expect(() => decodeBaseChain(message(chain(9, 0)))).toThrow("no family");
    expect(() => decodeBaseChain(message(chain(5, 2)))).toThrow("no hook");
  });
});

describe("transactions", () => {
  test("keep each within its limit and lose no element", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9_000 }),
        fc.integer({ min: 3_000, max: 300_000 }),
        fc.constantFrom("add", "delete", "destroy", "replace"),
        (count, limit, operation) => {
          const elements = Array.from({ length: count }, (_, i) => ({
            key: [{ type: "mark", value: i } as const],
          }));
          const seen: number[] = [];
          const layout = layoutOfElements(elements);
          for (const bytes of elementTransactions(NAME, operation, layout, elements, limit)) {
            expect(bytes.length).toBeLessThanOrEqual(limit);
            const messages = readMessages(bytes);
            expect([messages[0]!.type, messages.at(-1)!.type]).toEqual([0x10, 0x11]);
            expect(messages.filter((m) => (m.flags & 4) !== 0)).toHaveLength(1);
            for (const m of messages.slice(1, -1)) {
              for (const { key } of decodeElements(m)) seen.push(Buffer.from(key!).readUInt32LE());
            }
          }
          expect(seen).toHaveLength(count * (operation === "replace" ? 2 : 1));
          expect(new Set(seen).size).toBe(count);
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe("drops", () => {
  test("are reached through jumps that form a circle", () => {
    const rule = (chain: string, ...jumps: string[]) => ({ chain, drops: false, jumps, verdictMaps: [] });
    const rules = [rule("a", "b"), rule("b", "a", "c"), { ...rule("c"), verdictMaps: ["m"] }];
    expect(reachesDrop("a", rules, () => [])).toBeFalse();
    expect(reachesDrop("a", rules, () => [{ code: 0, chain: undefined }])).toBeTrue();
    expect(reachesDrop("a", [...rules, { ...rule("d"), drops: true }], () => [])).toBeFalse();
    const toD = () => [{ code: -3, chain: "d" }];
    expect(reachesDrop("a", [...rules, { ...rule("d"), drops: true }], toD)).toBeTrue();
  });
});

describe("nft", () => {
  test("that is not installed is unsupported, with what to install", async () => {
    const error = await runScript(-1, "", "/nonexistent").catch((e: unknown) => e);
    expect(isUnsupported(error)).toBeTrue();
    expect(error).toMatchObject({ hint: "apt-get install nftables" });
  });

  test("errors without a line are passed on", () => {
    expect(isInvalid(scriptError("", "x"))).toBeTrue();
    const text = "netlink: Error: cache initialization failed: Operation not permitted\n";
    expect(scriptError(text, "x").code).toBe("permission");
    expect(isNotFound(scriptError("-:1:1-2: Error: No such file or directory\n", "x"))).toBeTrue();
  });
});
