/** Who gets addresses from where: pods, namespaces, nodes and pools as data. */
import { expect, test } from "bun:test";
import { parseIp, parsePrefix } from "@weft/base";
import type { AddressRequest, IpPool, PodAddressing, SelectorTerm } from "@weft/model";
import { type Labels, matches, type NamespaceAddressing, podAddressing, usablePools } from "./select.ts";

const pool = (name: string, cidr: string, more: Partial<IpPool> = {}): IpPool => ({
  name,
  uid: `u-${name}`,
  cidr: parsePrefix(cidr),
  blockSize: cidr.includes(":") ? 122 : 26,
  nodeSelector: [],
  namespaceSelector: [],
  natOutgoing: undefined,
  disabled: false,
  ready: true,
  created: 100,
  origin: { kind: "IPPool", name },
  ...more,
});
const has = (key: string, ...values: string[]): SelectorTerm => ({ key, operator: "In", values });
const asks = (...pools: string[]): AddressRequest => ({ pools, addresses: [], problem: undefined });

const POOLS: readonly IpPool[] = [
  pool("young", "10.3.0.0/16", { created: 300 }),
  pool("b", "10.2.0.0/16"),
  pool("a", "10.1.0.0/16"),
  pool("six", "fd00:1::/64"),
  pool("team", "10.4.0.0/16", { created: 50, namespaceSelector: [has("team", "x")] }),
  pool("edge", "10.5.0.0/16", { created: 40, nodeSelector: [has("zone", "edge")] }),
  pool("off", "10.6.0.0/16", { created: 30, disabled: true }),
  pool("off6", "fd00:6::/64", { created: 30, disabled: true }),
  pool("new", "10.7.0.0/16", { created: 20, ready: false }),
];

interface Case {
  readonly what: string;
  readonly pod?: AddressRequest;
  readonly namespace?: Partial<NamespaceAddressing>;
  readonly node?: Labels;
  readonly gets: Partial<PodAddressing>;
}

const ALL4 = ["a", "b", "young"];
const CASES: readonly Case[] = [
  {
    what: "nothing is asked: all that apply, by age, then by name",
    gets: { pools: { 4: ALL4, 6: ["six"] } },
  },
  {
    what: "a namespace that a selector has",
    namespace: { labels: { team: "x" } },
    gets: { pools: { 4: ["team", ...ALL4], 6: ["six"] } },
  },
  {
    what: "a node that a selector has",
    node: { zone: "edge" },
    gets: { pools: { 4: ["edge", ...ALL4], 6: ["six"] } },
  },
  {
    what: "the pod's list is an order, and speaks for its families alone",
    pod: asks("young", "a"),
    gets: { pools: { 4: ["young", "a"], 6: ["six"] } },
  },
  {
    what: "a pool that is asked for needs no namespace selector to have it",
    pod: asks("team"),
    gets: { pools: { 4: ["team"], 6: ["six"] } },
  },
  {
    what: "the namespace's list, where the pod says nothing",
    namespace: { asks: asks("b") },
    gets: { pools: { 4: ["b"], 6: ["six"] } },
  },
  {
    what: "pod and namespace speak of different families",
    pod: asks("six"),
    namespace: { asks: asks("young") },
    gets: { pools: { 4: ["young"], 6: ["six"] } },
  },
  {
    what: "the pod comes before its namespace",
    pod: asks("a"),
    namespace: { asks: asks("b") },
    gets: { pools: { 4: ["a"], 6: ["six"] } },
  },
  {
    what: "what cannot be used is passed over",
    pod: asks("off", "new", "a"),
    gets: { pools: { 4: ["a"], 6: ["six"] } },
  },
  {
    what: "none of the list can be used",
    pod: asks("off", "new", "edge"),
    gets: {
      pools: { 6: ["six"] },
      problem:
        "pool off is disabled, or being deleted; pool new is not ready; pool edge is not for this node (spec.nodeSelector)",
    },
  },
  {
    what: "none of one family can",
    pod: asks("a", "off6"),
    gets: { pools: { 4: ["a"] }, problem: "pool off6 is disabled, or being deleted" },
  },
  {
    what: "nobody knows the name",
    pod: asks("nope"),
    gets: { pools: { 4: ALL4, 6: ["six"] }, problem: "there is no pool nope" },
  },
  {
    what: "nobody knows one of the names",
    pod: asks("nope", "b"),
    gets: { pools: { 4: ["b"], 6: ["six"] } },
  },
  {
    what: "an annotation that cannot be read",
    pod: { pools: [], addresses: [], problem: "annotation x: no" },
    namespace: { asks: { ...asks(), problem: "annotation y: no" } },
    gets: {
      pools: { 4: ALL4, 6: ["six"] },
      problem: "annotation x: no; Namespace default: annotation y: no",
    },
  },
  {
    what: "addresses",
    pod: { ...asks(), addresses: [parseIp("10.1.0.9")] },
    gets: { pools: { 4: ALL4, 6: ["six"] }, wanted: [parseIp("10.1.0.9")] },
  },
];

test.each(CASES.map((c): [string, Case] => [c.what, c]))("%s", (_, { pod, namespace, node = {}, gets }) => {
  const known = namespace === undefined ? undefined : { name: "default", labels: {}, ...namespace };
  const selection = { pools: POOLS, labels: node };
  expect(podAddressing(selection, pod, known)).toEqual({
    pools: {},
    wanted: [],
    problem: undefined,
    ...gets,
  });
});

test("without pools everything comes from podCIDRs", () => {
  expect(podAddressing({ pools: [], labels: {} }, undefined, undefined)).toEqual({
    pools: {},
    wanted: [],
    problem: undefined,
  });
  expect(usablePools({ pools: POOLS, labels: {} }).map((p) => p.name)).toEqual(
    ["a", "b", "six", "team", "young"].sort((x, y) => {
      const created = (n: string) => POOLS.find((p) => p.name === n)?.created ?? 0;
      return created(x) - created(y) || (x < y ? -1 : 1);
    }),
  );
});

test.each<[SelectorTerm, Labels, boolean]>([
  [has("a", "1", "2"), { a: "2" }, true],
  [has("a", "1"), { a: "2" }, false],
  [has("a", "1"), {}, false],
  [{ key: "a", operator: "NotIn", values: ["1"] }, {}, true],
  [{ key: "a", operator: "NotIn", values: ["1"] }, { a: "1" }, false],
  [{ key: "a", operator: "Exists", values: [] }, { a: "" }, true],
  [{ key: "a", operator: "Exists", values: [] }, {}, false],
  [{ key: "a", operator: "DoesNotExist", values: [] }, {}, true],
  [{ key: "toString", operator: "Exists", values: [] }, {}, false],
])("%j matches %j: %p", (term, labels, wanted) => {
  expect(matches([term], labels)).toBe(wanted);
});
