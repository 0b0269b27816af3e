import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Failure } from "../errors.ts";
import { clone, equal, type Mapping } from "../values.ts";
import { jsonPatch } from "./json-patch.ts";
import { mergePatch, readPatch } from "./patch.ts";
import { strategicMerge } from "./strategic.ts";

const status = (run: () => unknown): number => {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(Failure);
    return (error as Failure).status;
  }
  return 200;
};

describe("merge patches (RFC 7386, appendix A)", () => {
  test.each<[unknown, unknown, unknown]>([
    [{ a: "b" }, { a: "c" }, { a: "c" }],
    [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
    [{ a: "b" }, { a: null }, {}],
    [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }],
    [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
    [
      ["a", "b"],
      ["c", "d"],
      ["c", "d"],
    ],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: "b", c: null }, { a: "b" }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])("%j with %j is %j", (target, patch, result) => {
    expect(mergePatch(target, patch)).toEqual(result);
  });

  test("leave what they are given, and are the same twice", () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue()),
        fc.dictionary(fc.string(), fc.jsonValue()),
        (a, b) => {
          const before = clone(a);
          const once = mergePatch(a, b) as Mapping;
          expect(a).toEqual(before);
          expect(equal(mergePatch(once, b), once)).toBe(true);
        },
      ),
    );
  });
});

describe("JSON patches (RFC 6902, appendix A)", () => {
  test.each<[Mapping, unknown[], Mapping]>([
    [{ foo: "bar" }, [{ op: "add", path: "/baz", value: "qux" }], { foo: "bar", baz: "qux" }],
    [{ foo: ["bar", "baz"] }, [{ op: "add", path: "/foo/1", value: "qux" }], { foo: ["bar", "qux", "baz"] }],
    [{ baz: "qux", foo: "bar" }, [{ op: "remove", path: "/baz" }], { foo: "bar" }],
    [{ foo: ["bar", "qux", "baz"] }, [{ op: "remove", path: "/foo/1" }], { foo: ["bar", "baz"] }],
    [{ baz: "qux" }, [{ op: "replace", path: "/baz", value: "boo" }], { baz: "boo" }],
    [{ a: { b: 1 }, c: {} }, [{ op: "move", from: "/a/b", path: "/c/d" }], { a: {}, c: { d: 1 } }],
    [
      { foo: ["all", "grass", "cows", "eat"] },
      [{ op: "move", from: "/foo/1", path: "/foo/3" }],
      { foo: ["all", "cows", "eat", "grass"] },
    ],
    [{ foo: ["bar"] }, [{ op: "add", path: "/foo/-", value: ["abc"] }], { foo: ["bar", ["abc"]] }],
    [{ "/": 9, "~1": 10 }, [{ op: "test", path: "/~01", value: 10 }], { "/": 9, "~1": 10 }],
    [{ a: 1 }, [{ op: "copy", from: "/a", path: "/b" }], { a: 1, b: 1 }],
    [{ l: {} }, [{ op: "add", path: "/l/constructor", value: "x" }], { l: { constructor: "x" } }],
  ])("%j with %j is %j", (object, patch, result) => {
    expect(jsonPatch(patch)(object)).toEqual(result);
  });

  test.each<[string, unknown, number]>([
    ["no list", {}, 400],
    ["no operation", [{ op: "nothing", path: "/a" }], 400],
    ["no pointer", [{ op: "remove", path: "a" }], 400],
    ["a wrong escape", [{ op: "remove", path: "/~2" }], 400],
    ["no value", [{ op: "add", path: "/a" }], 400],
    ["the whole", [{ op: "replace", path: "", value: {} }], 400],
    ["something absent", [{ op: "remove", path: "/nope" }], 422],
    ["something inherited", [{ op: "remove", path: "/toString" }], 422],
    ["a parent that is absent", [{ op: "add", path: "/x/y", value: 1 }], 422],
    ["an item that is absent", [{ op: "replace", path: "/list/9", value: 1 }], 422],
    ["an item with a leading zero", [{ op: "replace", path: "/list/00", value: 1 }], 422],
    ["a test that fails", [{ op: "test", path: "/a", value: 2 }], 422],
    ["a move into itself", [{ op: "move", from: "/o", path: "/o/p" }], 422],
    ["too many", Array.from({ length: 10_001 }, () => ({ op: "test", path: "/a", value: 1 })), 413],
    [
      "copies of copies",
      Array.from({ length: 60 }, (_, i) => ({ op: "copy", from: "/o", path: `/o/${i}` })),
      422,
    ],
  ])("of %s are refused", (_, patch, code) => {
    const object = { a: 1, list: [1], o: { text: "x".repeat(1000) } };
    const before = clone(object);
    expect(status(() => jsonPatch(patch)(object))).toBe(code);
    expect(object).toEqual(before);
  });
});

describe("strategic merge patches", () => {
  const pod = {
    spec: {
      containers: [
        { name: "a", image: "1", env: [{ name: "X", value: "1" }] },
        { name: "b", image: "1" },
      ],
    },
  };
  const run = (patch: Mapping, object: Mapping = pod, model = "V1Pod"): unknown =>
    strategicMerge(object, patch, model);

  test("tell the items of keyed lists apart", () => {
    expect(
      run({
        spec: {
          containers: [
            { name: "b", image: "2" },
            { name: "c", image: "3" },
          ],
        },
      }),
    ).toEqual({
      spec: { containers: [pod.spec.containers[0], { name: "b", image: "2" }, { name: "c", image: "3" }] },
    });
    expect(run({ spec: { containers: [{ name: "a", env: [{ name: "Y", value: "2" }] }] } })).toMatchObject({
      spec: { containers: [{ image: "1", env: [{ name: "Y" }, { name: "X" }] }, { name: "b" }] },
    });
  });

  test("take items, fields and all else out", () => {
    expect(run({ spec: { containers: [{ name: "a", $patch: "delete" }] } })).toEqual({
      spec: { containers: [{ name: "b", image: "1" }] },
    });
    expect(run({ spec: { containers: [{ $patch: "replace" }, { name: "z", image: "9" }] } })).toEqual({
      spec: { containers: [{ name: "z", image: "9" }] },
    });
    expect(run({ spec: { $patch: "replace", hostNetwork: true } })).toEqual({ spec: { hostNetwork: true } });
    expect(run({ spec: { $patch: "delete" } })).toEqual({});
    expect(run({ spec: { $retainKeys: ["nodeName"], nodeName: "n" } })).toEqual({ spec: { nodeName: "n" } });
    expect(run({ spec: { containers: null } })).toEqual({ spec: {} });
  });

  test("order lists, and treat some as sets", () => {
    const order = { spec: { "$setElementOrder/containers": [{ name: "b" }, { name: "a" }] } };
    expect(run(order)).toMatchObject({ spec: { containers: [{ name: "b" }, { name: "a" }] } });
    const meta = { metadata: { finalizers: ["x/a", "x/b"] } };
    expect(run({ metadata: { finalizers: ["x/b", "x/c"] } }, meta)).toEqual({
      metadata: { finalizers: ["x/a", "x/b", "x/c"] },
    });
    expect(run({ metadata: { "$deleteFromPrimitiveList/finalizers": ["x/a"] } }, meta)).toEqual({
      metadata: { finalizers: ["x/b"] },
    });
  });

  test("put what is new before what it does not name, as kubectl's users see it", () => {
    const names = (patch: Mapping): unknown =>
      (run({ spec: patch }) as typeof pod).spec.containers.map(({ name }) => name);
    expect(names({ containers: [{ name: "c", image: "3" }] })).toEqual(["c", "a", "b"]);
    const order = [{ name: "a" }, { name: "c" }];
    expect(names({ containers: [{ name: "c", image: "3" }], "$setElementOrder/containers": order })).toEqual([
      "a",
      "c",
      "b",
    ]);
  });

  test("replace lists that have no key", () => {
    const slice = { endpoints: [{ addresses: ["10.0.0.1"] }] };
    expect(run({ endpoints: [{ addresses: ["10.0.0.2"] }] }, slice, "V1EndpointSlice")).toEqual({
      endpoints: [{ addresses: ["10.0.0.2"] }],
    });
  });

  test.each<[string, Mapping]>([
    ["an unknown directive", { spec: { $patch: "explode" } }],
    ["an item without its key", { spec: { containers: [{ image: "1" }] } }],
    ["an item that is none", { spec: { containers: ["a"] } }],
    ["an order that is no list", { spec: { "$setElementOrder/containers": "a" } }],
    ["kept keys that are no list", { spec: { $retainKeys: 1 } }],
  ])("with %s are refused", (_, patch) => {
    expect(status(() => run(patch))).toBe(400);
  });
});

test("any body of any type of patch is applied or refused, and nothing else", () => {
  const types = ["json-patch", "merge-patch", "strategic-merge-patch"].map(
    (type) => `application/${type}+json`,
  );
  fc.assert(
    fc.property(fc.constantFrom(...types), fc.jsonValue(), (type, body) => {
      expect([200, 400, 413, 422]).toContain(
        status(() => readPatch(type, body, "V1Pod")({ metadata: { name: "x" } })),
      );
    }),
  );
});

test("a strategic merge patch sets a field of any name, and changes no prototype", () => {
  const patch = JSON.parse('{"data": {"__proto__": "v", "constructor": "w"}}') as Mapping;
  const { data } = strategicMerge({ data: { a: "b" } }, patch, "V1ConfigMap") as { data: Mapping };
  expect(JSON.stringify(data)).toBe('{"a":"b","__proto__":"v","constructor":"w"}');
  const deep = JSON.parse('{"data": {"__proto__": {"polluted": "x"}}}') as Mapping;
  const result = strategicMerge({ data: {} }, deep, "V1ConfigMap") as { data: Mapping };
  expect(result.data["polluted"]).toBeUndefined();
});
