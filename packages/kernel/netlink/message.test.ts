import { describe, expect, test } from "bun:test";
import { isInvalid, WeftError } from "@weft/base";
import fc from "fast-check";
import { NLM, NLMSG } from "./constants.ts";
import { Attributes, acknowledgementError, readAcknowledgement, readMessages } from "./message.ts";
import { NetlinkWriter } from "./writer.ts";

const bytes = (hex: string): Uint8Array => Uint8Array.fromHex(hex.replaceAll(" ", ""));

/** What `fn` throws must be a WeftError "invalid". */
function harmless(fn: () => unknown): void {
  try {
    fn();
  } catch (error) {
    if (!(error instanceof WeftError) || error.code !== "invalid") throw error;
  }
}

test("the bytes of a request, laid out by hand", () => {
  const message = new NetlinkWriter()
    .begin(18, NLM.request)
    .raw(new Uint8Array(16))
    .string(3, "lo")
    .u32(29, 9)
    .finish();
  const expected = `
    30000000 1200 0100 00000000 00000000 00000000 00000000 00000000 00000000
    0700 0300 6c6f00 00 0800 1d00 09000000`;
  expect(message.toHex()).toBe(bytes(expected.replace(/\s/g, "")).toHex());
});

test("every kind of attribute comes back", () => {
  const message = new NetlinkWriter(16)
    .begin(1000, NLM.ack)
    .u8(1, 0xfe)
    .u16(2, 0xfedc)
    .u32(3, 0xfedcba98)
    .u64(4, 0xfedcba9876543210n)
    .u16Be(5, 0xfedc)
    .u32Be(6, 0xfedcba98)
    .u64Be(7, 0xfedcba9876543210n)
    .string(8, "größe")
    .flag(9)
    .bytes(10, bytes("010203"))
    .nest(11, (w) => w.u8(1, 7).nest(2, (v) => v.string(1, "deep")))
    .finish();
  const [read, ...rest] = readMessages(message);
  expect(rest).toEqual([]);
  expect(read).toMatchObject({ type: 1000, flags: NLM.ack, sequence: 0, port: 0 });
  const a = new Attributes(read?.payload ?? new Uint8Array());
  expect([a.u8(1), a.u16(2), a.u32(3), a.u64(4)]).toEqual([0xfe, 0xfedc, 0xfedcba98, 0xfedcba9876543210n]);
  expect([a.u16Be(5), a.u32Be(6), a.u64Be(7)]).toEqual([0xfedc, 0xfedcba98, 0xfedcba9876543210n]);
  expect([a.i32(3), a.i32Be(6)]).toEqual([0xfedcba98 | 0, 0xfedcba98 | 0]);
  expect([a.string(8), a.has(9), a.bytes(10)?.toHex()]).toEqual(["größe", true, "010203"]);
  expect(a.nested(11)?.u8(1)).toBe(7);
  expect(a.nested(11)?.nested(2)?.string(1)).toBe("deep");
  expect([a.u8(99), a.string(99), a.nested(99), a.has(99)]).toEqual([undefined, undefined, undefined, false]);
  expect(a.all.map((x) => x.type)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
});

test("many messages in one buffer, aligned", () => {
  const writer = new NetlinkWriter(16);
  for (let i = 0; i < 100; i++) writer.begin(i + 16, 0).string(1, "x".repeat(i));
  const messages = readMessages(writer.finish());
  expect(messages.map((m) => m.type)).toEqual(Array.from({ length: 100 }, (_, i) => i + 16));
  expect(messages.map((m) => new Attributes(m.payload).string(1)?.length)).toEqual(messages.map((_, i) => i));
});

test("what does not fit into an attribute is refused", () => {
  const writer = new NetlinkWriter().begin(16, 0);
  expect(() => writer.bytes(1, new Uint8Array(65532))).toThrow(WeftError);
  expect(() =>
    writer.nest(1, (w) => w.bytes(1, new Uint8Array(65000)).bytes(2, new Uint8Array(600))),
  ).toThrow(WeftError);
});

test("attributes round-trip", () => {
  const attribute = fc.record({
    type: fc.integer({ min: 0, max: 0x3fff }),
    value: fc.uint8Array({ maxLength: 40 }),
  });
  fc.assert(
    fc.property(fc.array(attribute), (attributes) => {
      const writer = new NetlinkWriter().begin(16, 0);
      for (const { type, value } of attributes) writer.bytes(type, value);
      const [message] = readMessages(writer.finish());
      const read = new Attributes(message?.payload ?? new Uint8Array()).all;
      expect(read.map((a) => [a.type, a.value.toHex()])).toEqual(
        attributes.map((a) => [a.type, a.value.toHex()]),
      );
    }),
  );
});

describe("bad bytes", () => {
  test.each([
    ["half a header", "10000000 1200"],
    ["a length of zero", "00000000 1200 0000 00000000 00000000"],
    ["a length below the header's", "0f000000 1200 0000 00000000 00000000"],
    ["a length beyond the end", "11000000 1200 0000 00000000 00000000"],
    ["a huge length", "ffffffff 1200 0000 00000000 00000000"],
    ["a stub behind the last message", "10000000 1200 0000 00000000 00000000 00"],
  ])("message: %s", (_, hex) => {
    expect(() => readMessages(bytes(hex))).toThrow(WeftError);
  });
  test.each([
    ["half a header", "0800"],
    ["a length of zero", "0000 0100"],
    ["a length below the header's", "0300 0100"],
    ["a length beyond the end", "0900 0100 01020304"],
    ["a stub behind the last one", "0500 0100 01000000 00"],
  ])("attribute: %s", (_, hex) => {
    expect(() => new Attributes(bytes(hex))).toThrow(WeftError);
  });
  test("values that are too short for their type", () => {
    const a = new Attributes(bytes("0500 0100 01000000"));
    for (const read of [() => a.u16(1), () => a.u32(1), () => a.u64(1), () => a.i32(1), () => a.u64Be(1)]) {
      expect(read).toThrow(WeftError);
    }
    expect(() => a.nested(1)).toThrow(WeftError);
    expect(() => new Attributes(new Uint8Array(3), 4)).toThrow(WeftError);
  });
  test("any bytes at all", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (raw) => {
        harmless(() => readMessages(raw));
        harmless(() => new Attributes(raw).nested(1));
        for (const kind of ["error", "done"] as const) {
          const message = { type: NLMSG.error, flags: NLM.ackTlvs, sequence: 1, port: 0, payload: raw };
          harmless(() => readAcknowledgement(message, kind));
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe("acknowledgements", () => {
  const header = "10000000 1000 0500 01000000 00000000";
  const answer = (flags: number, hex: string) => ({
    type: NLMSG.error,
    flags,
    sequence: 1,
    port: 0,
    payload: bytes(hex),
  });
  test("success", () => {
    expect(readAcknowledgement(answer(NLM.capped, `00000000 ${header}`), "error").errno).toBe(0);
  });
  test("an error with the kernel's words and the place", () => {
    const hex = `eaffffff ${header} 0800 0100 62616400 0800 0200 24000000`;
    const read = readAcknowledgement(answer(NLM.capped | NLM.ackTlvs, hex), "error");
    expect(read).toEqual({ errno: 22, message: "bad", offset: 36 });
    const error = acknowledgementError(read, "RTM_NEWLINK", "link weft0");
    expect(error.message).toBe("RTM_NEWLINK link weft0: EINVAL (bad)");
    expect(isInvalid(error)).toBe(true);
  });
  test("an error that brings the whole request back", () => {
    const request = `14000000 1000 0500 01000000 00000000 deadbeef`;
    const read = readAcknowledgement(answer(NLM.ackTlvs, `eaffffff ${request} 0800 0100 62616400`), "error");
    expect(read.message).toBe("bad");
  });
  test("the end of a dump", () => {
    expect(readAcknowledgement(answer(0, ""), "done").errno).toBe(0);
    const failed = readAcknowledgement(answer(NLM.ackTlvs, "feffffff 0800 0100 62616400"), "done");
    expect(failed).toEqual({ errno: 2, message: "bad", offset: undefined });
    expect(() => readAcknowledgement(answer(0, "00"), "error")).toThrow(WeftError);
  });
});
