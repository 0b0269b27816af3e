import { describe, expect, test } from "bun:test";
import { isIPv4, isIPv6 } from "node:net";
import fc from "fast-check";
import { isInvalid } from "./errors.ts";
import {
  bitsOf,
  compareIp,
  type Family,
  familyOf,
  ipBytes,
  ipFromBigInt,
  ipFromBytes,
  ipToBigInt,
  isIp,
  parseIp,
} from "./ip.ts";

const bytes4 = fc.uint8Array({ minLength: 4, maxLength: 4 });
/** Runs of zeros are what canonical text is about. */
const bytes6 = fc
  .array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff })), { minLength: 8, maxLength: 8 })
  .map((groups) => Uint8Array.from(groups.flatMap((g) => [g >> 8, g & 255])))
  .filter((b) => !isMapped(b));
const isMapped = (b: Uint8Array): boolean =>
  b.subarray(0, 10).every((x) => x === 0) && b[10] === 255 && b[11] === 255;
const address = fc.oneof(bytes4, bytes6).map(ipFromBytes);

/** The runtime's URL parser as a second implementation of RFC 5952. */
const canonical6 = (text: string): string => new URL(`http://[${text}]/`).hostname.slice(1, -1);
const grouped = (b: Uint8Array): string =>
  Array.from({ length: 8 }, (_, i) =>
    (((b[2 * i] as number) << 8) | (b[2 * i + 1] as number)).toString(16),
  ).join(":");

describe("text", () => {
  test("of any bytes parses to these bytes, and is canonical", () => {
    fc.assert(
      fc.property(fc.oneof(bytes4, bytes6), (bytes) => {
        const ip = ipFromBytes(bytes);
        expect(ipBytes(ip)).toEqual(bytes);
        expect(parseIp(ip)).toBe(ip);
        expect(familyOf(ip)).toBe(bytes.length === 4 ? 4 : 6);
        expect(ip.includes(":") ? isIPv6(ip) : isIPv4(ip)).toBe(true);
      }),
    );
  });

  test("of IPv6 is that of the URL parser, however it is written", () => {
    fc.assert(
      fc.property(bytes6, fc.boolean(), (bytes, upper) => {
        const long = upper ? grouped(bytes).toUpperCase() : grouped(bytes);
        expect(parseIp(long) as string).toBe(canonical6(long));
        const padded = long
          .split(":")
          .map((g) => g.padStart(4, "0"))
          .join(":");
        expect(parseIp(padded)).toBe(parseIp(long));
        const last = Array.from(bytes.subarray(12)).join(".");
        expect(parseIp(`${long.split(":").slice(0, 6).join(":")}:${last}`)).toBe(parseIp(long));
      }),
    );
  });

  test.each([
    ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["::0:1", "::1"],
    ["1:0:0:0:0:0:0:0", "1::"],
    ["::1.2.3.4", "::102:304"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ["fe80:0000::0001", "fe80::1"],
  ])("RFC 5952: %s is %s", (text, wanted) => {
    expect(parseIp(text) as string).toBe(wanted);
  });

  test.each([
    "",
    " ",
    ".",
    "1",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "1.2.3.-4",
    "1.2.3.04",
    "0x1.2.3.4",
    "1.2.3.4 ",
    " 1.2.3.4",
    "1.2.3.4/24",
    "1.2.3.4:80",
    "1..3.4",
    "１.2.3.4",
    ":",
    ":::",
    "::1::",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7::8:9",
    ":1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7:8:",
    "12345::",
    "g::",
    "::1%eth0",
    "[::1]",
    "1.2.3.4::",
    "::1.2.3",
    "::1.2.3.4.5",
    "::1.2.3.4:5",
    "::01.2.3.4",
    "::ffff:1.2.3.4",
    "::ffff:102:304",
    "0:0:0:0:0:ffff:0:1",
    "fe80::1/64",
    `${"0:".repeat(40)}1`,
    "\u00001.2.3.4",
    "1.2.3.4\n",
  ])("%j is refused", (text) => {
    expect(isIp(text)).toBe(false);
    expect(() => parseIp(text)).toThrow("is not an IP address");
    try {
      parseIp(text);
    } catch (error) {
      expect(isInvalid(error)).toBe(true);
    }
  });

  test("whatever else is taken, node takes it too, and the other way round", () => {
    const piece = fc.constantFrom("0", "1", "ff", "FFFF", "10000", "255", "256", "01", "", "g");
    const text = fc
      .array(fc.tuple(piece, fc.constantFrom(":", "::", ".", "")), { maxLength: 9 })
      .map((parts) => parts.flat().join(""));
    fc.assert(
      fc.property(text, (t) => {
        const mapped = isIPv6(t) && /^::ffff:/.test(canonical6(t));
        // A group of "::" must stand for at least one: "1:2:3:4::5:6:7:8" is for some parsers none.
        const empty =
          t.includes("::") && t.split(/:+/).filter((p) => p !== "").length + (t.includes(".") ? 1 : 0) > 7;
        if (!mapped && !empty) expect(`${t} ${isIp(t)}`).toBe(`${t} ${isIPv4(t) || isIPv6(t)}`);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("numbers", () => {
  test("go to text and back, and compare as the addresses do", () => {
    fc.assert(
      fc.property(address, address, (a, b) => {
        expect(ipFromBigInt(ipToBigInt(a), familyOf(a))).toBe(a);
        const [x, y] = [ipToBigInt(a), ipToBigInt(b)];
        const wanted = familyOf(a) !== familyOf(b) ? familyOf(a) - familyOf(b) : x < y ? -1 : x > y ? 1 : 0;
        expect(Math.sign(compareIp(a, b))).toBe(Math.sign(wanted));
      }),
    );
  });

  test.each([4, 6] as const)("outside of IPv%i are refused", (family: Family) => {
    const most = (1n << BigInt(bitsOf(family))) - 1n;
    expect(ipToBigInt(ipFromBigInt(most, family))).toBe(most);
    for (const wrong of [most + 1n, -1n]) expect(() => ipFromBigInt(wrong, family)).toThrow(/is no IPv/);
  });

  test("of bytes there are 4 or 16", () => {
    for (const length of [0, 3, 5, 15, 17])
      expect(() => ipFromBytes(new Uint8Array(length))).toThrow("4 or 16");
  });
});
