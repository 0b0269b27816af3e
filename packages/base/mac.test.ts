import { expect, test } from "bun:test";
import fc from "fast-check";
import { isInvalid } from "./errors.ts";
import { ipBytes } from "./ip.ts";
import { linkLocalOf, macBytes, macFromBytes, macFromSeed, parseMac } from "./mac.ts";

const bytes = fc.uint8Array({ minLength: 6, maxLength: 6 });

test("text of any bytes parses to these bytes", () => {
  fc.assert(
    fc.property(bytes, (b) => {
      const mac = macFromBytes(b);
      expect(macBytes(mac)).toEqual(b);
      expect(parseMac(mac)).toBe(mac);
      expect(parseMac(mac.toUpperCase())).toBe(mac);
    }),
  );
});

test.each([
  "",
  "02:00:5e:10:00",
  "02:00:5e:10:00:01:02",
  "2:0:5e:10:0:1",
  "02-00-5e-10-00-01",
  "0200.5e10.0001",
  "02:00:5e:10:00:0g",
  " 02:00:5e:10:00:01",
  "02:00:5e:10:00:01\n",
])("%j is refused", (text) => {
  expect(() => parseMac(text)).toThrow("is not an Ethernet address");
  try {
    parseMac(text);
  } catch (error) {
    expect(isInvalid(error)).toBe(true);
  }
});

test("a seed gives one locally administered unicast address, and another seed another", () => {
  const seen = new Set<string>();
  for (let i = 0; i < 1000; i++) {
    const mac = macFromSeed(`seed ${i}`);
    expect(macFromSeed(`seed ${i}`)).toBe(mac);
    expect((macBytes(mac)[0] as number) & 3).toBe(2);
    seen.add(mac);
  }
  expect(seen.size).toBe(1000);
  // It is on nodes already: a new one would change every tunnel's address at an upgrade.
  expect(macFromSeed("vtep n1") as string).toMatchInlineSnapshot(`"0a:94:b9:1c:a9:0a"`);
});

test("the link-local address is the kernel's", () => {
  // From ip(8) on a link with these Ethernet addresses.
  expect(linkLocalOf("02:00:5e:10:00:01") as string).toBe("fe80::5eff:fe10:1");
  expect(linkLocalOf("52:54:00:12:34:56") as string).toBe("fe80::5054:ff:fe12:3456");
  expect(linkLocalOf("00:00:00:00:00:00") as string).toBe("fe80::200:ff:fe00:0");
  fc.assert(
    fc.property(bytes, (b) => {
      const ip = ipBytes(linkLocalOf(macFromBytes(b)));
      expect(Array.from(ip.subarray(0, 8))).toEqual([0xfe, 0x80, 0, 0, 0, 0, 0, 0]);
      expect(Array.from(ip.subarray(8))).toEqual([
        (b[0] as number) ^ 2,
        b[1],
        b[2],
        0xff,
        0xfe,
        b[3],
        b[4],
        b[5],
      ] as number[]);
    }),
  );
});
