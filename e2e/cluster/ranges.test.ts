import { expect, test } from "bun:test";
import { addressesOf, type Families, rangesOf, urlHost } from "./ranges.ts";

test.each(["ipv4", "ipv6", "dual"] as Families[])(
  "%s: one range and one address a family, in order",
  (families) => {
    const ranges = rangesOf(families);
    expect(ranges.families).toHaveLength(families === "dual" ? 2 : 1);
    for (const list of [
      ranges.pods,
      ranges.services,
      ranges.apiServices,
      ranges.dnsServices,
      addressesOf(ranges, 1, 11),
    ]) {
      expect(list.map((text) => (text.includes(":") ? "ipv6" : "ipv4"))).toEqual([...ranges.families]);
    }
  },
);

test("an address stands in a URL", () => {
  expect(urlHost("10.0.0.1")).toBe("10.0.0.1");
  expect(urlHost("fd00::1")).toBe("[fd00::1]");
});
