import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Failure } from "../errors.ts";
import { apiVersionOf } from "../resource.ts";
import { BUILT_IN } from "../resources/index.ts";
import { decodeProtobuf } from "./decode.ts";
import { ROOTS, typeOf } from "./types.ts";

/** A small encoder of the wire format: what the decoder is held against. */
type Part = readonly [number, string | number | bigint | Uint8Array | readonly Part[]];
function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  do {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    bytes.push(rest > 0n ? low | 0x80 : low);
  } while (rest > 0n);
  return bytes;
}
function encode(parts: readonly Part[]): Uint8Array {
  return Uint8Array.from(
    parts.flatMap(([number, value]) => {
      if (typeof value === "number" || typeof value === "bigint") {
        return [...varint(BigInt(number) << 3n), ...varint(BigInt(value))];
      }
      const bytes =
        typeof value === "string"
          ? Buffer.from(value)
          : value instanceof Uint8Array
            ? value
            : encode(value as readonly Part[]);
      return [...varint((BigInt(number) << 3n) | 2n), ...varint(BigInt(bytes.length)), ...bytes];
    }),
  );
}
const envelope = (apiVersion: string, kind: string, parts: readonly Part[]): Uint8Array =>
  Buffer.concat([
    Buffer.from("k8s\0"),
    encode([
      [
        1,
        [
          [1, apiVersion],
          [2, kind],
        ],
      ],
      [2, parts],
      [3, ""],
      [4, ""],
    ]),
  ]);

const failure = (bytes: Uint8Array): string => {
  try {
    decodeProtobuf(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(Failure);
    expect((error as Failure).status).toBe(400);
    return (error as Failure).message;
  }
  return "";
};

describe("objects in protobuf", () => {
  test("are what they are in JSON; what Go writes of absent fields is absent", () => {
    const meta: Part = [
      1,
      [
        [1, "web"],
        [2, ""],
        [3, "default"],
        [7, 0],
        [8, []],
        [
          11,
          [
            [1, "app"],
            [2, "x"],
          ],
        ],
      ],
    ];
    const port: Part = [
      1,
      [
        [1, "http"],
        [2, "TCP"],
        [3, 80],
        [
          4,
          [
            [1, 1],
            [2, 0],
            [3, "name"],
          ],
        ],
        [5, 0],
      ],
    ];
    const other: Part = [
      1,
      [
        [1, ""],
        [2, "UDP"],
        [3, 53],
        [
          4,
          [
            [1, 0],
            [2, 5353],
            [3, ""],
          ],
        ],
        [5, 30053],
      ],
    ];
    const spec: Part = [2, [port, other, [3, ""], [4, "ClusterIP"], [8, ""]]];
    expect(decodeProtobuf(envelope("v1", "Service", [meta, spec, [3, [[1, []]]]]))).toEqual({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "web", namespace: "default", labels: { app: "x" } },
      spec: {
        type: "ClusterIP",
        ports: [
          { name: "http", protocol: "TCP", port: 80, targetPort: "name" },
          { protocol: "UDP", port: 53, targetPort: 5353, nodePort: 30053 },
        ],
      },
      status: { loadBalancer: {} },
    });
  });

  test("keep a zero that is meant, negative numbers, times, quantities and fields of inner types", () => {
    expect(
      decodeProtobuf(
        envelope("apps/v1", "Deployment", [
          [
            2,
            [
              [1, 0],
              [9, -1],
            ],
          ],
        ]),
      )["spec"],
    ).toEqual({
      replicas: 0,
      progressDeadlineSeconds: -1,
    });
    const volume: Part = [
      1,
      [
        [1, "v"],
        [
          2,
          [
            [
              2,
              [
                [1, "Memory"],
                [2, [[1, "1Gi"]]],
              ],
            ],
          ],
        ],
      ],
    ];
    expect(decodeProtobuf(envelope("v1", "Pod", [[2, [volume]]]))["spec"]).toEqual({
      volumes: [{ name: "v", emptyDir: { medium: "Memory", sizeLimit: "1Gi" } }],
    });
    const renewed: Part = [
      4,
      [
        [1, 1_767_323_045],
        [2, 5_000],
      ],
    ];
    const lease = decodeProtobuf(
      envelope("coordination.k8s.io/v1", "Lease", [[2, [[1, "me"], [2, 15], renewed]]]),
    );
    expect(lease["spec"]).toEqual({
      holderIdentity: "me",
      leaseDurationSeconds: 15,
      renewTime: "2026-01-02T03:04:05.000005Z",
    });
    const secret = decodeProtobuf(
      envelope("v1", "Secret", [
        [
          2,
          [
            [1, "__proto__"],
            [2, Uint8Array.of(0, 255)],
          ],
        ],
      ]),
    );
    expect(Object.entries(secret["data"] as object)).toEqual([["__proto__", "AP8="]]);
    expect(
      decodeProtobuf(
        envelope("apps/v1", "DeleteOptions", [
          [1, 0],
          [4, "Background"],
        ]),
      ),
    ).toMatchObject({
      gracePeriodSeconds: 0,
      propagationPolicy: "Background",
    });
  });

  test("of a scheduler and of who empties a node are read too", () => {
    const metadata: Part = [
      1,
      [
        [1, "web"],
        [3, "default"],
        [5, "u-1"],
      ],
    ];
    const target: Part = [
      2,
      [
        [1, "Node"],
        [3, "n1"],
      ],
    ];
    expect(decodeProtobuf(envelope("v1", "Binding", [metadata, target]))).toMatchObject({
      kind: "Binding",
      metadata: { name: "web", namespace: "default", uid: "u-1" },
      target: { kind: "Node", name: "n1" },
    });
    const options: Part = [
      2,
      [
        [1, 5],
        [2, [[1, "u-1"]]],
      ],
    ];
    expect(decodeProtobuf(envelope("policy/v1", "Eviction", [metadata, options]))).toMatchObject({
      apiVersion: "policy/v1",
      deleteOptions: { gracePeriodSeconds: 5, preconditions: { uid: "u-1" } },
    });
  });

  test.each<[string, Uint8Array, string]>([
    ["nothing", new Uint8Array(), "does not begin"],
    ["JSON", Buffer.from('{"kind":"Pod"}'), "does not begin"],
    ["an unknown kind", envelope("v1", "Widget", []), "send JSON"],
    ["a cut field", envelope("v1", "Pod", []).slice(0, -1), "cut off"],
    ["an endless number", Buffer.concat([Buffer.from("k8s\0"), new Uint8Array(20).fill(0x88)]), "too long"],
    ["a group", Buffer.concat([Buffer.from("k8s\0"), Uint8Array.of(0x0b)]), "wire type 3"],
    [
      "a length beyond all",
      Buffer.concat([Buffer.from("k8s\0"), Uint8Array.of(0x12, ...varint(2n ** 63n))]),
      "cut off",
    ],
    ["a text that is none", envelope("v1", "Pod", [[1, [[1, Uint8Array.of(0xff)]]]]), "UTF-8"],
    ["a number for a text", envelope("v1", "Pod", [[1, [[1, 7]]]]), "is a number"],
    ["a text for a number", envelope("apps/v1", "Deployment", [[2, [[1, "x"]]]]), "must be a number"],
    ["a time of no time", envelope("v1", "Pod", [[1, [[8, [[1, 2n ** 62n]]]]]]), "a time is none"],
  ])("of %s are refused", (_, bytes, message) => {
    expect(failure(bytes)).toContain(message);
  });

  test("any bytes are an object or refused", () => {
    const kinds = fc.constantFrom("Pod", "Service", "ConfigMap", "Secret", "Node", "DeleteOptions", "Event");
    fc.assert(
      fc.property(kinds, fc.uint8Array({ maxLength: 200 }), (kind, bytes) => {
        failure(bytes);
        failure(
          envelope("v1", kind, [
            [1, bytes],
            [2, bytes],
          ]),
        );
      }),
    );
  });
});

test("every resource of the server's own has its fields, but definitions, which clients send as JSON", () => {
  for (const resource of BUILT_IN.filter(({ kind }) => kind !== "CustomResourceDefinition")) {
    const name = `${apiVersionOf(resource)} ${resource.kind}`;
    const fields = [...typeOf(ROOTS[name] ?? "").values()].map((field) => field.name);
    expect([name, fields]).toEqual([name, expect.arrayContaining(["metadata"])]);
  }
});
