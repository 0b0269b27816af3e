import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { planKey } from "@weft/model";
import { compileState, type GoldenPlan, STATES } from "./states.ts";

const FILE = `${import.meta.dir}/plans.golden.json`;

/** JSON with one row a line: what changes shows as lines in a review. */
function text(plans: Readonly<Record<string, GoldenPlan>>): string {
  const states = Object.entries(plans).map(([name, { rows, ...rest }]) => {
    const head = JSON.stringify({ ...rest }).slice(0, -1);
    const lines = rows.map((row) => JSON.stringify(row));
    return `${JSON.stringify(name)}: ${head},"rows":[\n${lines.join(",\n")}\n]}`;
  });
  return `{\n${states.join(",\n")}\n}\n`;
}

const plans = Object.fromEntries(Object.entries(STATES).map(([name, s]) => [name, compileState(s)]));

test("plans are as in plans.golden.json (WEFT_GOLDEN=write refreshes it)", () => {
  if (process.env["WEFT_GOLDEN"] === "write") writeFileSync(FILE, text(plans));
  expect(text(plans)).toBe(readFileSync(FILE, "utf8"));
});

test("a row is said once, and says where it comes from", () => {
  for (const [name, { rows }] of Object.entries(plans)) {
    const keys = rows.map((row) => `${row.kind} ${planKey(row)}`);
    expect([name, keys.filter((k, i) => keys.indexOf(k) !== i)]).toEqual([name, []]);
    for (const row of rows) expect(row.origin.name).not.toBe("");
  }
});

test("a route's source is an address that the node has by then", () => {
  for (const [name, { rows, uplink }] of Object.entries(plans)) {
    const held = new Set(uplink.map((a) => a.split("/")[0]));
    for (const row of rows) if (row.kind === "address") held.add(row.address.split("/")[0]);
    for (const row of rows) {
      if (row.kind !== "route" || row.source === undefined) continue;
      expect(`${name}: ${row.source} ${held.has(row.source)}`).toBe(`${name}: ${row.source} true`);
    }
  }
});

test("states without a problem say none, the others say which", () => {
  const told = Object.entries(plans).filter(([, { problems }]) => problems.length > 0);
  expect(Object.fromEntries(told.map(([name, { problems }]) => [name, problems]))).toMatchSnapshot();
});
