import { expect, test } from "bun:test";
import { renderSpecs, specsOf, summaryOf } from "./report.ts";

const entry = (text: string, State: string, Message?: string, LeafNodeType = "It"): object => ({
  ContainerHierarchyTexts: LeafNodeType === "It" ? ["[sig-network] Services"] : null,
  LeafNodeType,
  LeafNodeText: text,
  State,
  RunTime: 1_500_000_000,
  ...(Message !== undefined && { Failure: { Message } }),
});
const report = (...entries: readonly object[]): string => JSON.stringify([{ SpecReports: entries }]);

test("chosen specs have their verdicts; what was not chosen is left out", () => {
  const specs = specsOf(
    report(
      entry("should serve [Conformance]", "passed"),
      entry("should be elsewhere", "skipped"),
      entry("needs two nodes [Conformance]", "skipped", "there is one\nnode"),
      entry("breaks [Conformance]", "failed", "  no answer\nmore"),
      entry("hangs [Conformance]", "timedout", "late"),
      entry("panics [Conformance]", "panicked", "nil"),
    ),
  );
  expect(specs.map((s) => `${s.name}: ${s.verdict}: ${s.reason ?? ""}`)).toEqual([
    "Services breaks: failed: no answer",
    "Services hangs: failed: late",
    "Services needs two nodes: skipped: there is one",
    "Services panics: failed: nil",
    "Services should serve: passed: ",
  ]);
  expect(specs[0]?.seconds).toBe(1.5);
  expect(summaryOf(specs)).toBe("1 passed, 3 failed, 1 skipped");
});

test("a suite that cannot be set up has failed, and one that can is no row", () => {
  const set = (State: string): string => report(entry("", State, "no nodes", "SynchronizedBeforeSuite"));
  expect(specsOf(set("failed"))).toEqual([
    { name: "(SynchronizedBeforeSuite)", verdict: "failed", seconds: 1.5, reason: "no nodes" },
  ]);
  expect(specsOf(set("passed"))).toEqual([]);
  expect(summaryOf([])).toBe("0 passed, 0 failed");
});

test("lines fit the terminal, and reasons stand below", () => {
  const text = renderSpecs(specsOf(report(entry("breaks [Conformance]", "failed", "no answer at all"))), 26);
  expect(text.split("\n")).toEqual([
    "verdict  seconds  spec",
    "failed       1.5  Service…",
    "                  no answ…",
  ]);
});

test("a report that was cut off is an error", () => {
  expect(() => specsOf("[{")).toThrow("no JSON");
});
