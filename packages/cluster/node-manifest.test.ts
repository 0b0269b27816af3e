import { expect, test } from "bun:test";
import { hasCode, makePrefix } from "@weft/base";
import fc from "fast-check";
import { nodeManifest, parseManifests } from "./index.ts";

test("any node that is written is read back", () => {
  const name = fc.oneof(
    fc.constantFrom("on", "no", "12", "1e3", "null", "0x1f", "a.b"),
    fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$/),
  );
  const octet = fc.integer({ min: 0, max: 255 });
  const arbitrary = fc.record({
    name,
    a: octet,
    b: octet,
    v4: fc.boolean(),
    v6: fc.boolean(),
    length: fc.integer({ min: 9, max: 32 }),
  });
  fc.assert(
    fc.property(arbitrary, ({ name, a, b, v4, v6, length }) => {
      const node = {
        name,
        addresses: [`192.0.${a}.${b}`, ...(v6 ? [`2001:db8::1${b.toString(16)}`] : [])],
        podCIDRs: [
          ...(v4 ? [makePrefix(`10.${a}.${b}.0`, length)] : []),
          ...(v6 ? [`fd00:1${a.toString(16)}::/64`] : []),
        ],
      };
      const rows = parseManifests(nodeManifest(node), "n.yaml");
      expect([rows.errors, rows.warnings]).toEqual([[], []]);
      expect(rows.nodes.map((n) => [n.name, n.addresses as readonly string[]])).toEqual([
        [name, node.addresses],
      ]);
      expect(rows.blocks.map((x) => [x.node, x.prefix])).toEqual(
        node.podCIDRs.map((p) => [name, p as never]),
      );
    }),
  );
});

test("a node that would not be accepted is not written", () => {
  const write = () => nodeManifest({ name: "A", addresses: ["x"], podCIDRs: ["10.0.0.1/24"] });
  expect(write).toThrow(/metadata\.name.*spec\.podCIDRs\[0\].*status\.addresses\[0\]\.address/s);
  try {
    write();
  } catch (error) {
    expect(hasCode(error, "invalid")).toBe(true);
  }
});
