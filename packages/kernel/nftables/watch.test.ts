import { expect, test } from "bun:test";
import type { IpAddress } from "@weft/base";
import { createFakeKernel } from "../fake/kernel.ts";
import { createAnonymous } from "../netns/index.ts";
import type { SetElement } from "../port.ts";
import { FAMILY_NUMBER, messageType } from "./constants.ts";
import { createNftables } from "./nftables.ts";
import { decodeChanges, type NftablesEvent, watchNftables } from "./watch.ts";
import { nftablesWatchConformance } from "./watch-conformance.ts";

nftablesWatchConformance("Linux", () => {
  const namespace = createAnonymous();
  const nft = createNftables(namespace);
  const outsider = createNftables(namespace);
  return {
    nft,
    outsider,
    watch: (listener) => watchNftables(namespace, listener),
    cleanup() {
      nft.close();
      outsider.close();
      namespace.close();
    },
  };
});

nftablesWatchConformance("the fake", () => {
  const fake = createFakeKernel();
  return {
    nft: fake.kernel.nftables,
    outsider: fake.outsiderNftables(fake.kernel.self),
    watch: (listener) => fake.kernel.watch(listener),
    cleanup() {},
  };
});

test("a queue that ran over is some tables, and it goes on", async () => {
  const namespace = createAnonymous();
  const nft = createNftables(namespace);
  await nft.run("add table inet one\nadd set inet one s { type ipv4_addr; }");
  const events: NftablesEvent[] = [];
  const stop = watchNftables(namespace, (event) => events.push(event), 4096);
  const eventually = async (table: string | undefined): Promise<void> => {
    for (let i = 0; i < 6000 && !events.some((e) => e.table === table); i++) await Bun.sleep(5);
    expect(events.some((e) => e.table === table)).toBe(true);
  };
  try {
    const elements = Array.from({ length: 5000 }, (_, i): SetElement => {
      return { key: [{ type: "ip", value: `10.0.${i >> 8}.${i & 255}` as IpAddress }] };
    });
    nft.addElements("inet", "one", "s", elements);
    await eventually(undefined);
    await nft.run("add table ip two");
    await eventually("two");
  } finally {
    stop();
    nft.close();
    namespace.close();
  }
});

/** A table's name as its first attribute, as the kernel writes it. */
function changed(family: number, name: string | undefined, number = 0) {
  const text = Buffer.from(name === undefined ? "" : `${name}\0`);
  const attribute = Buffer.alloc(name === undefined ? 0 : (4 + text.length + 3) & ~3);
  if (name !== undefined) {
    attribute.writeUInt16LE(4 + text.length, 0);
    attribute.writeUInt16LE(1, 2);
    text.copy(attribute, 4);
  }
  const payload = Buffer.concat([Buffer.from([family, 0, 0, 0]), attribute]);
  return { type: messageType(number), flags: 0, sequence: 0, port: 0, payload };
}

test("a transaction of many messages is one event a table", () => {
  const { inet, arp } = FAMILY_NUMBER;
  const messages = [changed(inet, "a"), changed(arp, "a"), changed(inet, "a", 12), changed(0, undefined, 15)];
  expect(decodeChanges(messages)).toEqual([
    { kind: "nftables", family: "inet", table: "a" },
    { kind: "nftables", family: "arp", table: "a" },
  ]);
});

test.each([
  ["no table", changed(1, undefined)],
  ["an empty name", changed(1, "")],
  ["no family", changed(0, "a")],
  ["an unknown family", changed(99, "a")],
  ["no header", { ...changed(1, "a"), payload: new Uint8Array(2) }],
  ["a cut attribute", { ...changed(1, "a"), payload: changed(1, "a").payload.subarray(0, 6) }],
])("a message with %s is invalid", (_, message) => {
  expect(() => decodeChanges([message])).toThrow(expect.objectContaining({ code: "invalid" }));
});

test("messages of other subsystems are none of ours", () => {
  expect(decodeChanges([{ ...changed(1, "a"), type: 1 << 8 }])).toEqual([]);
});
