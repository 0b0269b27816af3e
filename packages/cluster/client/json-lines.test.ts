import { expect, test } from "bun:test";
import fc from "fast-check";
import { JsonLines } from "./json-lines.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test("values come out whole, however their bytes are cut", () => {
  fc.assert(
    fc.property(
      fc.array(fc.jsonValue({ maxDepth: 3 }), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      (values, cuts) => {
        const all = bytes(values.map((v) => `${JSON.stringify(v)}\n`).join("\n"));
        const lines = new JsonLines();
        const found: unknown[] = [];
        for (let at = 0, i = 0; at < all.length; i++) {
          const end = at + (cuts[i % cuts.length] as number);
          found.push(...lines.push(all.subarray(at, end)));
          at = end;
        }
        expect(JSON.stringify(found)).toBe(JSON.stringify(values));
        expect(lines.pending).toBe(0);
      },
    ),
  );
});

test("a line without its end is kept back, however complete it looks", () => {
  const lines = new JsonLines();
  expect([...lines.push(bytes('{"a":1}\n12'))]).toEqual([{ a: 1 }]);
  expect(lines.pending).toBe(2);
  expect([...lines.push(bytes("3\r\n"))]).toEqual([123]);
});

test("what is no JSON, no UTF-8, or too long is refused", () => {
  expect(() => [...new JsonLines().push(bytes("<html>\n"))]).toThrow("a line is no JSON");
  expect(() => [...new JsonLines().push(Uint8Array.of(0x22, 0xff, 0x22, 0x0a))]).toThrow("not UTF-8");
  const lines = new JsonLines(100);
  expect([...lines.push(bytes(`"${"x".repeat(90)}"`))]).toEqual([]);
  expect(() => [...lines.push(bytes("x".repeat(20)))]).toThrow("more than 100 bytes");
});
