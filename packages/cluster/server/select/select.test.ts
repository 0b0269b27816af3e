import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Failure } from "../errors.ts";
import type { ApiObject } from "../values.ts";
import { parseFieldSelector } from "./fields.ts";
import { parseLabelSelector } from "./labels.ts";

const refused = (run: () => unknown): boolean => {
  try {
    run();
    return false;
  } catch (error) {
    expect(error).toBeInstanceOf(Failure);
    return true;
  }
};

describe("label selectors", () => {
  const labels = { app: "web", tier: "front", n: "5", empty: "" };
  test.each<[string, boolean]>([
    ["", true],
    ["app=web", true],
    ["app==web,tier=front", true],
    ["app!=web", false],
    ["nope!=web", true],
    ["app in (api, web)", true],
    ["app notin (api,web)", false],
    ["nope notin (a)", true],
    ["app", true],
    ["!app", false],
    ["! nope", true],
    ["n>4,n<6", true],
    ["n>5", false],
    ["app>1", false],
    ["empty=", true],
    ["empty in ()", true],
    ["constructor", false],
    ["example.com/a=b", false],
  ])("%s", (text, holds) => {
    expect(parseLabelSelector(text)?.(labels) ?? true).toBe(holds);
  });

  test.each([
    "a=b=c",
    "a b",
    "a in",
    "a in (b",
    "a in (b,",
    ",a",
    "a,",
    "a,,b",
    "=a",
    "a!b",
    "!",
    "a>x",
    "a=b c",
    "-a=1",
    "a/b/c=1",
    "A B in (c)",
  ])("%s is refused", (text) => {
    expect(refused(() => parseLabelSelector(text))).toBe(true);
  });

  test("any text is a selector or refused, soon", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 100 }), (text) => void refused(() => parseLabelSelector(text))),
    );
    refused(() => parseLabelSelector("(".repeat(50_000)));
    refused(() => parseLabelSelector("a".repeat(50_000)));
    refused(() => parseLabelSelector(`a in ${"(".repeat(20_000)}`));
  });
});

describe("field selectors", () => {
  const object: ApiObject = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", namespace: "n" },
    spec: { nodeName: "a,b" },
  };
  const fields = { "spec.nodeName": "", "spec.hostNetwork": "false" };
  test.each<[string, boolean]>([
    ["", true],
    ["metadata.name=p", true],
    ["metadata.name==p,metadata.namespace!=n", false],
    ["spec.nodeName=a\\,b", true],
    ["spec.nodeName!=", true],
    ["spec.hostNetwork=false", true],
  ])("%s", (text, holds) => {
    expect(parseFieldSelector(text, fields)?.matches(object) ?? true).toBe(holds);
  });

  test("what is wrong with a label selector names the key, the value and why", () => {
    expect(() => parseLabelSelector("a=-b-")).toThrow(
      'values[0][a]: Invalid value: "-b-": a valid label must',
    );
    expect(() => parseLabelSelector("-a=b")).toThrow('key: Invalid value: "-a": name part must');
  });

  test.each(["spec.other=1", "metadata.name", "=x", "constructor=1"])("%s is refused", (text) => {
    expect(refused(() => parseFieldSelector(text, fields))).toBe(true);
  });

  test("whatever matches has their texts in its JSON", () => {
    const value = fc.oneof(
      fc.string(),
      fc.constantFrom('a"b', "\\", "ü\n", "false"),
      fc.boolean(),
      fc.integer(),
    );
    fc.assert(
      fc.property(value, value, (held, wanted) => {
        const text = `spec.nodeName=${String(wanted).replace(/[\\,=]/g, "\\$&")},spec.hostNetwork=false`;
        const pod = { ...object, spec: { nodeName: held } };
        const parsed = parseFieldSelector(text, fields);
        if (parsed?.matches(pod) !== true) return;
        const json = JSON.stringify(pod);
        expect(parsed.texts.every((part) => json.includes(part))).toBe(true);
      }),
      {
        examples: [
          ["x", "x"],
          ['a"b', 'a"b'],
          ["ü\n", "ü\n"],
          [true, "true"],
          [7, 7],
          ["", ""],
        ],
      },
    );
    expect(parseFieldSelector("spec.nodeName=n1,spec.hostNetwork=false", fields)?.texts).toEqual(["n1"]);
  });

  test("name the one object that can match", () => {
    expect(parseFieldSelector("metadata.name=p", fields)?.name).toBe("p");
    expect(parseFieldSelector("metadata.name!=p", fields)?.name).toBeUndefined();
  });
});
