/** After any changes, incremental derivation equals a computation from scratch. */
import { expect, test } from "bun:test";
import fc from "fast-check";
import { createDatabase, createTable, derive } from "./index.ts";

interface Pod {
  readonly name: string;
  readonly node: string;
  readonly ip: number;
  readonly labels: readonly string[];
}
interface Node {
  readonly name: string;
  readonly address: number;
}
interface Policy {
  readonly name: string;
  readonly selects: string;
  readonly broken: boolean;
}

/** Joins by key, by index and by whole table; collisions; errors; four levels, one of them a diamond. */
function build() {
  const database = createDatabase({
    onError: (error) => {
      throw error;
    },
  });
  const pods = createTable<Pod>(database, {
    name: "pods",
    key: (pod) => pod.name,
    indexes: { byNode: (pod) => pod.node, byLabel: (pod) => pod.labels },
  });
  const nodes = createTable<Node>(database, { name: "nodes", key: (node) => node.name });
  const policies = createTable<Policy>(database, {
    name: "policies",
    key: (policy) => policy.name,
    indexes: { bySelected: (policy) => policy.selects },
  });
  const routes = derive<Pod, { ip: string; via: number; pod: string }>({
    name: "routes",
    input: pods,
    key: (route) => route.ip,
    indexes: { byVia: (route) => String(route.via) },
    rows(pod, read) {
      const node = read.get(nodes, pod.node);
      if (node?.address === 0) throw new Error(`node ${node.name} has no address`);
      return node === undefined ? [] : [{ ip: `ip${pod.ip}`, via: node.address, pod: pod.name }];
    },
  });
  const members = derive<Policy, { key: string; pod: string; via: number | undefined }>({
    name: "members",
    input: policies,
    key: (member) => member.key,
    *rows(policy, read) {
      for (const pod of read.where(pods, "byLabel", policy.selects)) {
        const via = read.get(routes, `ip${pod.ip}`)?.via;
        yield { key: `${policy.selects}/${pod.ip}`, pod: pod.name, via };
        if (policy.broken && via === 1) throw new Error(`${policy.name} cannot reach ${pod.name}`);
      }
    },
  });
  const perNode = derive<Node, { node: string; routes: string; policies: string; first: string | undefined }>(
    {
      name: "per-node",
      input: nodes,
      key: (row) => row.node,
      rows(node, read) {
        const mine = read.where(routes, "byVia", String(node.address)).map((route) => route.ip);
        const labels = read.where(pods, "byNode", node.name).flatMap((pod) => pod.labels);
        const names = labels.flatMap((label) =>
          read.where(policies, "bySelected", label).map((policy) => policy.name),
        );
        const first = read.all(members)[0]?.key;
        return [{ node: node.name, routes: mine.join(), policies: names.join(), first }];
      },
    },
  );
  const totals = derive<{ node: string; routes: string }, { key: string; nodes: string }>({
    name: "totals",
    input: perNode,
    key: (row) => row.key,
    rows: (row, read) => [
      {
        key: row.routes,
        nodes: read
          .all(perNode)
          .filter((other) => other.routes === row.routes)
          .map((other) => other.node)
          .join(),
      },
    ],
  });
  return { database, pods, nodes, policies, derived: [routes, members, perNode, totals] as const };
}
type World = ReturnType<typeof build>;

const show = ({ derived }: World) =>
  derived.map((table) => ({
    rows: table.keys().map((key) => [key, table.get(key)]),
    errors: [...table.errors()].map(([key, error]) => [key, error.message]).sort(),
    conflicts: [...table.conflicts()],
  }));

type Write = (world: World) => void;
const name = (...names: string[]) => fc.constantFrom(...names);
const podName = name("p1", "p2", "p3", "p4");
const nodeName = name("n1", "n2", "n3");
const label = name("red", "blue");
const small = fc.nat({ max: 3 });
const pod = fc.record({ name: podName, node: nodeName, ip: small, labels: fc.subarray(["red", "blue"]) });
const node = fc.record({ name: nodeName, address: small });
const policy = fc.record({ name: name("q1", "q2", "q3"), selects: label, broken: fc.boolean() });
const write: fc.Arbitrary<Write> = fc.oneof(
  pod.map(
    (row): Write =>
      (world) =>
        void world.pods.put(row),
  ),
  node.map(
    (row): Write =>
      (world) =>
        void world.nodes.put(row),
  ),
  policy.map(
    (row): Write =>
      (world) =>
        void world.policies.put(row),
  ),
  podName.map(
    (key): Write =>
      (world) =>
        void world.pods.delete(key),
  ),
  nodeName.map(
    (key): Write =>
      (world) =>
        void world.nodes.delete(key),
  ),
  name("q1", "q2", "q3").map(
    (key): Write =>
      (world) =>
        void world.policies.delete(key),
  ),
  fc.array(pod, { maxLength: 4 }).map(
    (rows): Write =>
      (world) =>
        world.pods.replaceAll(rows),
  ),
);
const commit = fc.record({
  writes: fc.array(write, { maxLength: 5 }),
  fails: fc.nat({ max: 9 }).map((n) => n === 0),
});

test("incremental equals from scratch, and the batches tell the whole story", () => {
  fc.assert(
    fc.property(fc.array(commit, { minLength: 1, maxLength: 20 }), (commits) => {
      const world = build();
      const replayed = world.derived.map(() => new Map<string, unknown>());
      world.derived.forEach((table, i) => {
        table.watch(({ changes }) => {
          for (const { key, before, after } of changes) {
            expect(replayed[i]?.get(key)).toEqual(before);
            if (after === undefined) replayed[i]?.delete(key);
            else replayed[i]?.set(key, after);
          }
        });
      });
      for (const { writes, fails } of commits) {
        try {
          world.database.write(() => {
            for (const one of writes) one(world);
            if (fails) throw new Error("rolled back");
          });
        } catch (error) {
          if ((error as Error).message !== "rolled back") throw error;
        }
        const fresh = build();
        fresh.database.write(() => {
          fresh.nodes.replaceAll(world.nodes.rows());
          fresh.policies.replaceAll(world.policies.rows());
          fresh.pods.replaceAll(world.pods.rows());
        });
        expect(show(world)).toEqual(show(fresh));
        world.derived.forEach((table, i) => {
          expect(replayed[i]?.size).toBe(table.size);
        });
      }
    }),
    { numRuns: 400 },
  );
});
