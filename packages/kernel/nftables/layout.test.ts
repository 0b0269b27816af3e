import { describe, expect, test } from "bun:test";
import { type IpAddress, ipFromBytes, isInvalid, type Mac, macFromBytes } from "@weft/base";
import fc from "fast-check";
import type { SetField } from "../port.ts";
import { decodeFields, encodeFields, layoutOf, layoutOfFields } from "./layout.ts";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const ip4 = bytes(4).map((b) => ({ type: "ip", value: ipFromBytes(b) }) as const);
// Not IPv4-mapped: those are no addresses of a set.
const ip6 = bytes(15).map((b) => ({ type: "ip", value: ipFromBytes(Uint8Array.of(0xfd, ...b)) }) as const);
const other: fc.Arbitrary<SetField> = fc.oneof(
  fc.stringMatching(/^[a-zA-Z0-9_.@-]{1,15}$/).map((value) => ({ type: "ifname", value }) as const),
  bytes(6).map((b) => ({ type: "mac", value: macFromBytes(b) }) as const),
  fc.nat({ max: 0xffff_ffff }).map((value) => ({ type: "mark", value }) as const),
  fc.nat({ max: 0xffff }).map((value) => ({ type: "port", value }) as const),
  fc.nat({ max: 0xff }).map((value) => ({ type: "protocol", value }) as const),
);
const fieldsOf = (ip: fc.Arbitrary<SetField>) =>
  fc.array(fc.oneof(ip, other), { minLength: 1, maxLength: 5 }).filter((fields) => {
    try {
      return layoutOfFields(fields).length <= 64;
    } catch {
      return false;
    }
  });

function encode(fields: readonly SetField[]): Buffer {
  const layout = layoutOfFields(fields);
  const buffer = Buffer.alloc(layout.length);
  encodeFields(layout, fields, buffer, 0);
  return buffer;
}

const hex = (fields: readonly SetField[]): string => encode(fields).toString("hex");
const ip = (value: string) => ({ type: "ip", value: value as IpAddress }) as const;
const mac = (value: string) => ({ type: "mac", value: value as Mac }) as const;

describe("layout", () => {
  test("one field is its bare bytes, fields of a concatenation are padded", () => {
    expect(hex([{ type: "port", value: 443 }])).toBe("01bb");
    expect(hex([{ type: "protocol", value: 6 }])).toBe("06");
    expect(hex([mac("02:00:5e:10:00:01")])).toBe("02005e100001");
    expect(hex([{ type: "mark", value: 0x0a0b0c0d }])).toBe("0d0c0b0a");
    expect(hex([{ type: "ifname", value: "weft0" }])).toBe("77656674300000000000000000000000");
    expect(
      hex([
        ip("10.0.0.1"),
        { type: "protocol", value: 6 },
        { type: "port", value: 443 },
        mac("02:00:5e:10:00:01"),
        ip("10.0.0.2"),
      ]),
    ).toBe("0a00000106000000" + "01bb0000" + "02005e1000010000" + "0a000002");
  });

  test("fields come back as they went in", () => {
    for (const [ipField, family] of [
      [ip4, 4],
      [ip6, 6],
    ] as const) {
      fc.assert(
        fc.property(fieldsOf(ipField), (fields) => {
          const layout = layoutOf(
            fields.map((f) => f.type),
            family,
          );
          expect(decodeFields(layout, encode(fields))).toEqual([...fields]);
        }),
      );
    }
  });

  test("any bytes give fields that are those bytes, or invalid", () => {
    const types = fc.array(fc.constantFrom("ifname", "ip", "mac", "mark", "port", "protocol"), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(types, fc.constantFrom(4, 6), fc.uint8Array({ maxLength: 70 }), (types, family, input) => {
        try {
          const layout = layoutOf(types, family);
          const fields = decodeFields(layout, input);
          if (fields.some((f) => f.type === "ip" && f.value.startsWith("::ffff:"))) return;
          expect(encode(fields)).toEqual(Buffer.from(input));
        } catch (error) {
          if (!isInvalid(error)) throw error;
        }
      }),
      { numRuns: 500 },
    );
  });

  test("bad bytes are invalid", () => {
    const bad: [Parameters<typeof layoutOf>[0], string][] = [
      [["ip"], "0a0000"],
      [["ip"], "0a00000100"],
      [["port"], "01bb0000"],
      [["port", "ip"], "01bb00010a000001"],
      [["protocol", "mark"], "0600000100000000"],
      [["mac", "ip"], "02005e10000100010a000001"],
      [["ifname"], "00000000000000000000000000000000"],
      [["ifname"], "77656674300000000000000000000061"],
      [["ifname"], "61616161616161616161616161616161"],
      [["ifname"], "ff000000000000000000000000000000"],
    ];
    for (const [types, text] of bad) {
      expect(() => decodeFields(layoutOf(types, 4), Buffer.from(text, "hex"))).toThrow();
    }
  });

  test("values that do not fit their field are invalid", () => {
    const bad: SetField[] = [
      { type: "ifname", value: "" },
      { type: "ifname", value: "a-name-of-16-byt" },
      { type: "ifname", value: "nul\0" },
      { type: "mark", value: -1 },
      { type: "mark", value: 2 ** 32 },
      { type: "port", value: Number.NaN },
      { type: "protocol", value: 256 },
      ip("10.0.0"),
      mac("02:00"),
    ];
    for (const field of bad) expect(() => encode([field])).toThrow();
    expect(() => layoutOf([], 4)).toThrow("at least one field");
    expect(() => layoutOf(["ifname", "ifname", "ifname", "ifname", "mark"], 4)).toThrow("too many");
  });
});
