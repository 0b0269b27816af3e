/** A corpus of manifests with faults: what each is told. */
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseManifests } from "./index.ts";

/** A good pod and node with one part replaced. */
const pod = (part: string, by: string): string => {
  const good =
    "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, image: i, env: [{name: A, value: b}], ports: [{containerPort: 1}]}]}}";
  if (!good.includes(part)) throw new Error(`no ${part}`);
  return good.replace(part, by);
};
const node = (part: string, by: string): string => {
  const good =
    "{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {podCIDRs: [10.0.0.0/24]}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}";
  if (!good.includes(part)) throw new Error(`no ${part}`);
  return good.replace(part, by);
};

const BAD: readonly [text: string, ...errors: string[]][] = [
  ["just text", "object: must be a mapping with apiVersion and kind"],
  ["[1, 2]", "object: must be a mapping with apiVersion and kind"],
  ["{kind: Pod}", "object: apiVersion: Required value"],
  ["{apiVersion: v1}", "object: kind: Required value"],
  [
    "{apiVersion: 1, kind: [Pod]}",
    "object: kind: Invalid value: a list: must be a string",
    'object: apiVersion: Invalid value: 1: must be a string; write "1"',
  ],
  ["a: 1\na: 2", 'the key "a" is there twice'],
  ["a: *nobody", "there is no anchor &nobody before this alias"],
  ["a: b: c", "Nested mappings are not allowed"],
  ["\ta: 1", "Tabs are not allowed as indentation"],
  ["{apiVersion: v1, kind: List, items: {}}", "List: items: Invalid value: a mapping: must be a list"],
  ["&a {apiVersion: v1, kind: List, items: [*a]}", "more than 2 lists inside each other"],

  [pod("metadata: {name: p}", "metadata: {}"), "Pod default/(no name): metadata.name: Required value"],
  [
    pod("metadata: {name: p}", "metadata: p"),
    'metadata: Invalid value: "p": must be a mapping',
    "metadata.name: Required value",
  ],
  [
    pod("name: p", "name: P"),
    'Pod default/P: metadata.name: Invalid value: "P": a lowercase RFC 1123 subdomain',
  ],
  [pod("name: p", "name: -p"), 'Invalid value: "-p": a lowercase RFC 1123 subdomain'],
  [pod("name: p", 'name: "p\\n"'), 'Invalid value: "p\\n": a lowercase RFC 1123 subdomain'],
  [pod("name: p", `name: ${"p".repeat(254)}`), "must be no more than 253 characters"],
  [pod("name: p", "name: 5"), 'metadata.name: Invalid value: 5: must be a string; write "5"'],
  [
    pod("name: p", "name: p, namespace: a.b"),
    'metadata.namespace: Invalid value: "a.b": a lowercase RFC 1123 label',
  ],
  [pod("name: p", "name: p, namespace: a/b"), "Pod a/b/p: metadata.namespace"],
  [pod("name: p", 'name: p, uid: "a;b=c"'), 'metadata.uid: Invalid value: "a;b=c"'],
  [pod("name: p", "name: p, labels: [a]"), "metadata.labels: Invalid value: a list: must be a mapping"],
  [
    pod("name: p", "name: p, labels: {a: 1}"),
    'metadata.labels.a: Invalid value: 1: must be a string; write "1"',
  ],
  [pod("name: p", "name: p, labels: {a: -x}"), 'metadata.labels.a: Invalid value: "-x": a valid label'],
  [
    pod("name: p", 'name: p, labels: {"A_/b": x}'),
    'metadata.labels[A_/b]: Invalid value: "A_/b": prefix part',
  ],
  [
    pod("name: p", "name: p, labels: {__proto__: x}"),
    'metadata.labels.__proto__: Invalid value: "__proto__": name part',
  ],
  [
    pod(
      ", spec: {containers: [{name: c, image: i, env: [{name: A, value: b}], ports: [{containerPort: 1}]}]}",
      "",
    ),
    "spec.containers: Required value",
  ],
  [pod("spec: {", "spec: {nodeName: A/b, "), 'spec.nodeName: Invalid value: "A/b"'],
  [
    pod("spec: {", "spec: {hostNetwork: maybe, "),
    'spec.hostNetwork: Invalid value: "maybe": must be a boolean',
  ],
  [
    pod("spec: {", "spec: {restartPolicy: Sometimes, "),
    'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always"',
  ],
  [
    pod("containers: [{", "containers: {a: {").replace("]}]}}", "]}}}}"),
    "spec.containers: Invalid value: a mapping: must be a list",
  ],
  [pod("name: c", "name: c_1"), 'spec.containers[0].name: Invalid value: "c_1": a lowercase RFC 1123 label'],
  [
    pod("name: c, image: i", "x: y"),
    "spec.containers[0].name: Required value",
    "spec.containers[0].image: Required value",
  ],
  [pod("image: i", 'image: " i"'), 'spec.containers[0].image: Invalid value: " i": must not have leading'],
  [
    pod("containers: [", "containers: [{name: c, image: j}, "),
    'spec.containers[1].name: Duplicate value: "c"',
  ],
  [
    pod("containers: [", "containers: [x, "),
    'spec.containers[0]: Invalid value: "x": must be a mapping',
    "spec.containers[0].name: Required value",
    "spec.containers[0].image: Required value",
  ],
  [
    pod("image: i", "image: i, command: run"),
    'spec.containers[0].command: Invalid value: "run": must be a list',
  ],
  [
    pod("image: i", "image: i, command: [a, 1, null]"),
    'spec.containers[0].command[1]: Invalid value: 1: must be a string; write "1"',
    "spec.containers[0].command[2]",
  ],
  [
    pod("value: b", "value: 1"),
    'spec.containers[0].env[0].value: Invalid value: 1: must be a string; write "1"',
  ],
  [
    pod("value: b", "value: on"),
    'spec.containers[0].env[0].value: Invalid value: true: must be a string; write "true"',
  ],
  [pod("name: A", "name: 1A"), 'spec.containers[0].env[0].name: Invalid value: "1A"'],
  [
    pod("value: b", "value: b, valueFrom: {fieldRef: {}}"),
    "spec.containers[0].env[0].valueFrom: Invalid value",
  ],
  [
    pod("containerPort: 1", "containerPort: 65536"),
    "spec.containers[0].ports[0].containerPort: Invalid value: 65536: must be a whole number between 1 and 65535",
  ],
  [
    pod("containerPort: 1", "protocol: tcp"),
    "spec.containers[0].ports[0].containerPort: Required value",
    'spec.containers[0].ports[0].protocol: Unsupported value: "tcp"',
  ],

  [
    node(", status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}", ""),
    "Node n: status.addresses: Required value",
  ],
  [
    node("type: InternalIP", "type: Hostname"),
    "status.addresses: Required value: the address of type InternalIP",
  ],
  [
    node("type: InternalIP", "type: Internal"),
    'status.addresses[0].type: Unsupported value: "Internal"',
    "status.addresses: Required value",
  ],
  [
    node("[{type: InternalIP, address: 192.0.2.1}]", "none"),
    'status.addresses: Invalid value: "none": must be a list',
  ],
  [node("192.0.2.1", "192.0.2.256"), 'status.addresses[0].address: Invalid value: "192.0.2.256"'],
  [node("192.0.2.1", "127.0.0.1"), "must not touch 127.0.0.0/8 (loopback)"],
  [node("192.0.2.1", '"fe80::1"'), "must not touch fe80::/10 (link-local)"],
  [node("192.0.2.1", '"::ffff:192.0.2.1"'), "IPv4-mapped"],
  [
    node("10.0.0.0/24", "10.0.0.1/24"),
    'spec.podCIDRs[0]: Invalid value: "10.0.0.1/24"',
    "Write 10.0.0.0/24.",
  ],
  [node("10.0.0.0/24", "10.0.0.0"), "has no prefix length"],
  [node("10.0.0.0/24", "0.0.0.0/0"), "must not touch 0.0.0.0/8"],
  [
    node("10.0.0.0/24", "10.0.0.0/24, 10.0.0.128/25"),
    'spec.podCIDRs[1]: Invalid value: "10.0.0.128/25": overlaps 10.0.0.0/24 of spec.podCIDRs[0]',
  ],
  [
    node("podCIDRs: [", "podCIDR: 10.0.1.0/24, podCIDRs: ["),
    'spec.podCIDR: Invalid value: "10.0.1.0/24": must be the same as spec.podCIDRs[0]',
  ],
  [
    node("podCIDRs: [10.0.0.0/24]", "podCIDRs: 10.0.0.0/24"),
    'spec.podCIDRs: Invalid value: "10.0.0.0/24": must be a list',
  ],
];

describe("a bad manifest", () => {
  test.each(BAD.map((b) => [JSON.stringify(b[0]), b] as const))("%s", (_, [text, ...expected]) => {
    const good = pod("name: p", "name: good");
    const rows = parseManifests(`${good}\n---\n${text}\n---\n${good.replace("good", "better")}`, "bad.yaml");
    const all = rows.errors.join("\n");
    for (const error of expected) expect(all).toContain(error);
    for (const error of rows.errors) expect(error).toMatch(/^bad\.yaml:[3-9]+: /);
    expect(rows.pods.map((p) => p.name)).toEqual(["better", "good"]);
    expect(rows.nodes).toEqual([]);
    expect(rows.blocks).toEqual([]);
  });
});

describe("a costly text is refused", () => {
  const laughs = ["a: &a [x, x, x, x, x, x, x, x, x]"];
  for (const [from, to] of ["ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"]) {
    laughs.push(`${to}: &${to} [${Array(9).fill(`*${from}`).join(", ")}]`);
  }
  test.each([
    ["aliases of aliases", laughs.join("\n"), "Excessive alias count"],
    [
      "many aliases",
      Array.from({ length: 300 }, (_, i) => `a${i}: ${i === 0 ? "&x y" : "*x"}`).join("\n"),
      "more than 200 aliases",
    ],
    ["open brackets", "[".repeat(1_000_000), "more than 200 nested brackets"],
    ["open maps", "{a: ".repeat(1_000_000), "more than 200 nested brackets"],
    ["explicit keys", "? ".repeat(100_000), "more than 50 explicit keys"],
    [
      "explicit keys in lines",
      Array.from({ length: 100 }, (_, i) => `${" ".repeat(i)}?`).join("\n"),
      "more than 50 explicit keys",
    ],
    ["five million bytes", `a: "${"x".repeat(5_000_000)}"`, "5000005 bytes, more than the 4194304"],
    ["deep lists", "- ".repeat(100_000), ""],
  ])("%s", (_, text, message) => {
    const rows = parseManifests(text, "bomb.yaml");
    expect(rows.errors).toHaveLength(1);
    expect(rows.errors[0]).toMatch(/^bomb\.yaml:\d+: /);
    expect(rows.errors[0]).toContain(message);
  });

  test("a large one that is none is read", () => {
    const map = Array.from({ length: 30_000 }, (_, i) => `k${i}: v`).join("\n");
    expect(parseManifests(map, "large.yaml").errors).toEqual([
      "large.yaml:1: object: kind: Required value",
      "large.yaml:1: object: apiVersion: Required value",
    ]);
  });
});

describe("any text", () => {
  test("gives rows or errors, and never throws", () => {
    const word = fc.constantFrom(
      "apiVersion: v1",
      "kind: Pod",
      "kind: Node",
      "---",
      "...",
      "spec:",
      "- a",
      "  - b: c",
      "&x",
      "*x",
      "? k",
      "[",
      "}",
      '"',
      "|",
      "\t",
      "<<: *x",
      "%TAG ! x",
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(word, fc.string()), { maxLength: 20 }), (lines) => {
        const rows = parseManifests(lines.join("\n"), "any.yaml");
        for (const e of rows.errors) expect(e).toMatch(/^any\.yaml:\d+: /);
      }),
      { numRuns: 500 },
    );
  });

  test("names that are no text, and cannot be made one", () => {
    const name = { toString: {} };
    for (const kind of ["Pod", "Node"]) {
      const object = {
        apiVersion: "v1",
        kind,
        metadata: { name, namespace: name, labels: { a: name } },
        spec: {},
      };
      expect(parseManifests(JSON.stringify(object), "x.json").errors.length).toBeGreaterThan(0);
    }
  });

  test("a pod of any shape is taken whole or not at all", () => {
    const field = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.constant(undefined));
    const shape = fc.record({
      apiVersion: fc.constant("v1"),
      kind: fc.constantFrom("Pod", "Node"),
      metadata: fc.oneof(field, fc.record({ name: fc.oneof(fc.constant("a"), field), labels: field })),
      spec: fc.oneof(
        field,
        fc.record({
          podCIDRs: field,
          nodeName: field,
          hostNetwork: field,
          containers: fc.oneof(
            field,
            fc.array(
              fc.record({
                name: fc.constantFrom("a", "b"),
                image: fc.oneof(fc.constant("i"), field),
                env: field,
                command: field,
                ports: field,
              }),
            ),
          ),
        }),
      ),
      status: fc.oneof(
        field,
        fc.record({ addresses: fc.oneof(field, fc.array(fc.record({ type: field, address: field }))) }),
      ),
    });
    fc.assert(
      fc.property(shape, (object) => {
        const rows = parseManifests(JSON.stringify(object), "shape.json");
        const taken = rows.pods.length + rows.nodes.length;
        expect(taken).toBe(rows.errors.length === 0 ? 1 : 0);
      }),
      { numRuns: 500 },
    );
  });
});
