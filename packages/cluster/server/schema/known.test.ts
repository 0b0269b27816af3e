import { describe, expect, test } from "bun:test";
import { Ajv } from "ajv";
import fc from "fast-check";
import { customCheck, translate } from "./check.ts";
import { FORMATS } from "./formats.ts";
import { builtInCheck } from "./known.ts";
import { DEFINITIONS, publishedName, refTo, resolve, type Schema } from "./schema.ts";

const MODELS = ["V1Pod", "V1Node", "V1Service", "V1Deployment", "V1EndpointSlice", "V1NetworkPolicy"];

/** Values of all kinds, right and wrong ones. */
const odd = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    0,
    -1,
    2 ** 31,
    1.5,
    "",
    "text",
    "2026-01-02T03:04:05Z",
    "Zm9v",
    [],
    {},
  ),
  fc.constantFrom<unknown>([[]], [null], { x: null }, ["a", 1], { a: "b" }, { name: 3 }),
);

/** Values that mostly fit a schema. */
function fitting(given: Schema, depth: number): fc.Arbitrary<unknown> {
  const schema = resolve(given);
  const right = (): fc.Arbitrary<unknown> => {
    if (schema["x-kubernetes-int-or-string"] === true) return fc.constantFrom<unknown>(80, "http", "25%");
    switch (schema.type) {
      case "object": {
        const { properties = {}, required = [], additionalProperties } = schema;
        if (depth <= 0) return fc.constant({});
        const names = Object.keys(properties);
        const more =
          typeof additionalProperties === "object"
            ? fc.dictionary(fc.constantFrom("a", "b/c", "name"), fitting(additionalProperties, depth - 1), {
                maxKeys: 2,
              })
            : fc.constant({});
        return fc
          .tuple(fc.subarray(names, { maxLength: Math.min(4, names.length) }), fc.boolean())
          .chain(([chosen, all]) => {
            const fields = [...chosen, ...(all ? required : [])];
            const inner = fields.map((f) => [f, fitting(properties[f] as Schema, depth - 1)] as const);
            return fc.tuple(more, fc.record(Object.fromEntries(inner)));
          })
          .map(([others, own]) => ({ ...others, ...own }));
      }
      case "array":
        return fc.array(fitting(schema.items ?? {}, depth - 1), { maxLength: 2 });
      case "boolean":
        return fc.boolean();
      case "integer":
        return fc.constantFrom(0, 1, 2 ** 31 - 1, 2 ** 40);
      case "number":
        return fc.constantFrom(0, 1.5);
      case "string":
        return fc.constantFrom("", "text", "2026-01-02T03:04:05Z", "Zm9v");
      default:
        return odd;
    }
  };
  return fc.oneof({ weight: 30, arbitrary: right() }, { weight: 1, arbitrary: odd });
}

/** The same type as one schema without references; below `depth` anything is allowed. */
function whole(given: Schema, depth: number): Schema {
  const schema = resolve(given);
  if (depth < 0) return {};
  const { $ref: _, properties, items, additionalProperties, ...rest } = schema;
  return {
    ...rest,
    ...(properties && {
      properties: Object.fromEntries(Object.entries(properties).map(([f, s]) => [f, whole(s, depth - 1)])),
    }),
    ...(items && { items: whole(items, depth - 1) }),
    ...(typeof additionalProperties === "object"
      ? { additionalProperties: whole(additionalProperties, depth - 1) }
      : additionalProperties !== undefined && { additionalProperties }),
  };
}

const DEPTH = 5;
const told = (faults: readonly object[]): string[] => faults.map((f) => JSON.stringify(f)).sort();

describe("builtInCheck finds what a JSON Schema validator finds", () => {
  test.each(MODELS)("%s", (model) => {
    const check = builtInCheck(refTo(model));
    const peer = customCheck(whole(refTo(model), DEPTH + 3));
    let faulty = 0;
    fc.assert(
      fc.property(fitting(refTo(model), DEPTH), (value) => {
        const found = check(value as never);
        if (found.length > 0) faulty++;
        expect(told(found)).toEqual(told(peer(value as never)));
      }),
      { numRuns: 400 },
    );
    expect(faulty).toBeGreaterThan(20);
  });

  test("types that contain themselves", () => {
    const name = publishedName("V1JSONSchemaProps");
    const schemas = Object.fromEntries(Object.entries(DEFINITIONS).map(([n, s]) => [n, translate(s)]));
    const ajv = new Ajv({ strict: false, allErrors: true, formats: FORMATS });
    ajv.addSchema({ $id: "k", components: { schemas } });
    const peer = ajv.compile({ $ref: `k#/components/schemas/${name}` });
    const check = builtInCheck(refTo("V1JSONSchemaProps"));
    const deep = (inner: unknown): object => ({ properties: { a: { allOf: [{ not: inner }] } } });
    for (const inner of [{}, { type: "object" }, { type: 3 }, 7, { minLength: "1", required: [1] }]) {
      const value = deep(deep(inner));
      expect(check(value as never).length === 0).toBe(peer(value));
    }
    expect(check(deep(deep({ type: 3 })) as never)[0]?.field).toBe(
      "properties.a.allOf[0].not.properties.a.allOf[0].not.type",
    );
  });
});

test("every type has a check", () => {
  for (const name of Object.keys(DEFINITIONS)) {
    const { required = [] } = DEFINITIONS[name] as Schema;
    const found = builtInCheck({ $ref: `#/components/schemas/${name}` })({});
    expect(found.map((f) => f.field)).toEqual([...required]);
  }
});
