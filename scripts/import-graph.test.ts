import { expect, test } from "bun:test";
import { join } from "node:path";
import { checkGraph, cycleOf, faultsOf, importsOf, type Room } from "./import-graph.ts";

const room: Room = { folder: "packages/model", name: "@weft/model", allowed: ["@weft/base"] };

test("the checkout keeps the import graph", () => {
  expect(checkGraph(join(import.meta.dir, ".."))).toEqual([]);
});

test("every form of import is seen", () => {
  const source = `import a from "a";\nexport * from "b";\nconst c = await import("c");\nconst d = require("d");\nimport "e";`;
  expect(importsOf(source)).toEqual(["a", "b", "c", "d", "e"]);
  expect(importsOf(`type Key = Pick<Rule, "from" | "table">;`)).toEqual([]);
});

test("what is forbidden is found", () => {
  const faults = (source: string, file = "packages/model/x.ts") => faultsOf(room, file, source).length;
  expect(faults(`import { x } from "@weft/base";`)).toBe(0);
  expect(faults(`import { x } from "@weft/store";`)).toBe(1);
  expect(faults(`import { x } from "../store/index.ts";`)).toBe(1);
  expect(faults(`import { x } from "./plan.ts";`)).toBe(0);
  expect(faults(`import { readFileSync } from "node:fs";`)).toBe(1);
  expect(faults(`import { test } from "bun:test";`, "packages/model/x.test.ts")).toBe(0);
  expect(faults(`const k = require("koffi");`)).toBe(1);
});

test("a circle of rooms is found", () => {
  const a: Room = { folder: "a", name: "a", allowed: ["b"] };
  const b: Room = { folder: "b", name: "b", allowed: ["c"] };
  expect(cycleOf([a, b])).toBeUndefined();
  expect(cycleOf([a, b, { folder: "c", name: "c", allowed: ["a"] }])).toEqual(["a", "b", "c", "a"]);
});
