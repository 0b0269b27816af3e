import { describe, expect, test } from "bun:test";
import { selectorText } from "./cells.ts";
import { age, humanDuration } from "./duration.ts";
import { parseJsonPath } from "./json-path.ts";

/** As `kubectl get` has them. */
describe("ages", () => {
  const [minute, hour, day] = [60, 3600, 86_400];
  test.each<[number, string]>([
    [-5, "<invalid>"],
    [-1, "0s"],
    [0, "0s"],
    [119, "119s"],
    [2 * minute, "2m"],
    [5 * minute + 30, "5m30s"],
    [10 * minute + 30, "10m"],
    [179 * minute, "179m"],
    [3 * hour, "3h"],
    [7 * hour + 59 * minute, "7h59m"],
    [47 * hour, "47h"],
    [3 * day + 4 * hour, "3d4h"],
    [8 * day + 4 * hour, "8d"],
    [729 * day, "729d"],
    [3 * 365 * day + 5 * day, "3y5d"],
    [9 * 365 * day, "9y"],
  ])("%d seconds are %s", (seconds, shown) => {
    expect(humanDuration(seconds * 1000)).toBe(shown);
  });

  test("of what is no time is unknown", () => {
    expect(age(undefined, 0)).toBe("<unknown>");
    expect(age("soon", 0)).toBe("<unknown>");
  });
});

describe("JSON paths", () => {
  const object = {
    metadata: { labels: { "a.b/c": "x", plain: "y" } },
    spec: { ports: [{ port: 1 }, { port: 2 }], zero: 0 },
    status: {
      conditions: [
        { type: "Ready", status: "True" },
        { type: "Other", status: "False" },
      ],
    },
  };
  test.each<[string, unknown[]]>([
    [".spec.zero", [0]],
    [".spec.ports[*].port", [1, 2]],
    [".spec.ports[1].port", [2]],
    [".spec.ports[-1].port", [2]],
    [".spec.ports[9].port", []],
    [".metadata.labels['a.b/c']", ["x"]],
    [".metadata.labels.a\\.b/c", ["x"]],
    [".status.conditions[?(@.type=='Ready')].status", ["True"]],
    ['.status.conditions[?(@.type!="Ready")].status', ["False"]],
    ["{.spec.zero}", [0]],
    [".spec.toString", []],
    [".", [object]],
  ])("%s is %j", (path, found) => {
    expect(parseJsonPath(path)(object)).toEqual(found);
  });

  test.each(["", "spec", ".spec[", ".a..b", ".a[?(@.b)]", ".a[x]"])("%j is none", (path) => {
    expect(() => parseJsonPath(path)).toThrow("is no JSON path");
  });
});

test("selectors on a line", () => {
  expect(selectorText({ matchLabels: { b: "2", a: "1" } })).toBe("a=1,b=2");
  expect(selectorText({ a: "1" })).toBe("a=1");
  expect(selectorText({})).toBe("<none>");
  const expressions = [
    { key: "k", operator: "In", values: ["x", "y"] },
    { key: "l", operator: "NotIn", values: ["z"] },
    { key: "m", operator: "Exists" },
    { key: "n", operator: "DoesNotExist" },
  ];
  expect(selectorText({ matchExpressions: expressions })).toBe("k in (x,y),l notin (z),m,!n");
});
