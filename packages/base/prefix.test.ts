import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { hasCode } from "./errors.ts";
import { bitsOf, type Family, familyOf, ipFromBigInt, ipToBigInt } from "./ip.ts";
import {
  addressAt,
  contains,
  hostPrefix,
  makePrefix,
  networkOf,
  overlaps,
  type Prefix,
  parseIpWithLength,
  parsePrefix,
  prefixIp,
  prefixLength,
  prefixSize,
  subnetAt,
} from "./prefix.ts";

/** A prefix as numbers: what the functions are compared with. */
interface Range {
  readonly family: Family;
  readonly first: bigint;
  readonly last: bigint;
}
function rangeOf(family: Family, value: bigint, length: number): Range {
  const host = BigInt(bitsOf(family) - length);
  const first = (value >> host) << host;
  return { family, first, last: first + (1n << host) - 1n };
}
const within = (outer: Range, inner: Range): boolean =>
  outer.family === inner.family && outer.first <= inner.first && inner.last <= outer.last;

/** Few distinct high bits, so that prefixes often meet. */
const sample = fc.constantFrom(4 as Family, 6 as Family).chain((family) => {
  const bits = bitsOf(family);
  return fc.record({
    family: fc.constant(family),
    value: fc
      .tuple(
        fc.bigInt({ min: 0n, max: 7n }),
        fc.bigInt({ min: 0n, max: (1n << BigInt(bits - 3)) - 1n }),
        fc.boolean(),
      )
      .map(([high, low, zero]) => (high << BigInt(bits - 3)) | (zero ? 0n : low)),
    length: fc.integer({ min: 0, max: bits }),
  });
});
const textOf = ({ family, value, length }: { family: Family; value: bigint; length: number }): Prefix =>
  makePrefix(ipFromBigInt(value, family), length);

test("text is parsed to itself, with what it says", () => {
  fc.assert(
    fc.property(sample, (s) => {
      const p = textOf(s);
      const range = rangeOf(s.family, s.value, s.length);
      expect(parsePrefix(p)).toBe(p);
      expect(ipToBigInt(prefixIp(p))).toBe(range.first);
      expect(prefixLength(p)).toBe(s.length);
      expect(prefixSize(p)).toBe(range.last - range.first + 1n);
      const onLink = `${ipFromBigInt(s.value, s.family)}/${s.length}`;
      expect(parseIpWithLength(onLink) as string).toBe(onLink);
      expect(networkOf(onLink)).toBe(p);
    }),
  );
});

test("contains and overlaps are as with numbers", () => {
  fc.assert(
    fc.property(sample, sample, (a, b) => {
      const [x, y] = [rangeOf(a.family, a.value, a.length), rangeOf(b.family, b.value, b.length)];
      const [p, q] = [textOf(a), textOf(b)];
      expect(contains(p, q)).toBe(within(x, y));
      expect(overlaps(p, q)).toBe(within(x, y) || within(y, x));
      expect(overlaps(q, p)).toBe(overlaps(p, q));
      const ip = ipFromBigInt(b.value, b.family);
      expect(contains(p, ip)).toBe(within(x, rangeOf(b.family, b.value, bitsOf(b.family))));
      expect(contains(p, hostPrefix(ip))).toBe(contains(p, ip));
    }),
    { numRuns: 500 },
  );
});

test("addresses and subnets by number are as with numbers", () => {
  fc.assert(
    fc.property(sample, fc.nat(), fc.nat(), (s, at, more) => {
      const p = textOf(s);
      const range = rangeOf(s.family, s.value, s.length);
      const offset = BigInt(at) % prefixSize(p);
      expect(ipToBigInt(addressAt(p, offset))).toBe(range.first + offset);
      const length = s.length + (more % (bitsOf(s.family) - s.length + 1));
      const count = 1n << BigInt(length - s.length);
      const index = BigInt(at) % count;
      const sub = subnetAt(p, length, index);
      expect(ipToBigInt(prefixIp(sub))).toBe(range.first + (index << BigInt(bitsOf(s.family) - length)));
      expect(contains(p, sub)).toBe(true);
      expect(prefixLength(sub)).toBe(length);
      expect(() => subnetAt(p, length, count)).toThrow("has no");
      expect(() => addressAt(p, prefixSize(p))).toThrow("has no address");
    }),
  );
});

describe("what is refused", () => {
  test.each([
    ["10.0.0.0", "has no prefix length"],
    ["10.0.0.1/24", "bits set behind its length"],
    ["fd00::1/64", "bits set behind its length"],
    ["10.0.0.0/33", "a prefix length is 0 to 32"],
    ["fd00::/129", "a prefix length is 0 to 128"],
    ["10.0.0.0/", "a prefix length"],
    ["10.0.0.0/08", "a prefix length"],
    ["10.0.0.0/-1", "a prefix length"],
    ["10.0.0.0/ 8", "a prefix length"],
    ["10.0.0.0/8/8", "a prefix length"],
    ["10.0.0.0/255.0.0.0", "a prefix length"],
    ["10.0.0/8", "is not an IP address"],
    ["/8", "is not an IP address"],
    ["", "is not an IP address"],
    ["::ffff:10.0.0.0/104", "IPv4-mapped"],
  ])("%j: %s", (text, why) => {
    expect(() => parsePrefix(text)).toThrow(why);
    try {
      parsePrefix(text);
    } catch (error) {
      expect(hasCode(error, "invalid")).toBe(true);
    }
  });

  test("hints say what to write", () => {
    const hint = (text: string): unknown => {
      try {
        return parsePrefix(text);
      } catch (error) {
        return (error as { hint?: string }).hint;
      }
    };
    expect(hint("10.0.0.1/24")).toBe("Write 10.0.0.0/24.");
    expect(hint("fd00::1")).toBe("Write fd00::1/128.");
  });

  test("lengths that the family has not", () => {
    for (const length of [-1, 33, 1.5, Number.NaN])
      expect(() => makePrefix("10.0.0.0", length)).toThrow("0 to 32");
    expect(() => makePrefix("fd00::", 129)).toThrow("0 to 128");
    expect(() => subnetAt("10.0.0.0/16", 33, 0n)).toThrow("no /33");
    expect(() => subnetAt("10.0.0.0/16", 15, 0n)).toThrow("no /15");
    expect(() => subnetAt("10.0.0.0/16", 24, -1n)).toThrow("no /24 number -1");
    expect(() => addressAt("10.0.0.0/16", -1n)).toThrow("no address number -1");
  });
});

test("families never meet", () => {
  expect(contains("0.0.0.0/0", "::1")).toBe(false);
  expect(contains("::/0", "10.0.0.1")).toBe(false);
  expect(overlaps("::/0", "0.0.0.0/0")).toBe(false);
  expect(familyOf(hostPrefix("::1"))).toBe(6);
});
