import { describe, expect, test } from "bun:test";
import { isInvalid, WeftError } from "@weft/base";
import { createDatabase, createTable, derive, type Reader } from "./index.ts";

interface Pod {
  readonly name: string;
  readonly node: string;
  readonly ip: string;
}
interface Node {
  readonly name: string;
  readonly address: string;
}

function setUp() {
  const database = createDatabase({
    onError: (error) => {
      throw error;
    },
  });
  const pods = createTable<Pod>(database, {
    name: "pods",
    key: (pod) => pod.name,
    indexes: { byNode: (pod) => pod.node },
  });
  const nodes = createTable<Node>(database, { name: "nodes", key: (node) => node.name });
  return { database, pods, nodes };
}

interface Route {
  readonly destination: string;
  readonly via: string;
  readonly pod: string;
}

function setUpRoutes() {
  const base = setUp();
  const calls: string[] = [];
  const routes = derive<Pod, Route>({
    name: "routes",
    input: base.pods,
    key: (route) => route.destination,
    indexes: { byVia: (route) => route.via },
    rows(pod, read) {
      calls.push(pod.name);
      const node = read.get(base.nodes, pod.node);
      if (node?.address === "bad") throw new WeftError("invalid", "bad address");
      return node === undefined ? [] : [{ destination: pod.ip, via: node.address, pod: pod.name }];
    },
  });
  return { ...base, calls, routes };
}

describe("a derived table", () => {
  test("computes only the input rows whose readings changed", () => {
    const { database, pods, nodes, calls, routes } = setUpRoutes();
    database.write(() => {
      pods.put({ name: "a", node: "n1", ip: "10.0.0.1" });
      pods.put({ name: "b", node: "n2", ip: "10.0.0.2" });
      nodes.put({ name: "n1", address: "192.0.2.1" });
    });
    expect(routes.rows()).toEqual([{ destination: "10.0.0.1", via: "192.0.2.1", pod: "a" }]);
    calls.length = 0;
    // n2 was missed by b: what is absent is a reading too.
    database.write(() => nodes.put({ name: "n2", address: "192.0.2.2" }));
    expect(calls).toEqual(["b"]);
    expect(routes.keys()).toEqual(["10.0.0.1", "10.0.0.2"]);
    database.write(() => nodes.put({ name: "n3", address: "192.0.2.3" }));
    expect(calls).toEqual(["b"]);
    database.write(() => pods.put({ name: "b", node: "n3", ip: "10.0.0.2" }));
    calls.length = 0;
    // b has left n2, so n2 no longer concerns it.
    database.write(() => nodes.delete("n2"));
    expect(calls).toEqual([]);
    expect(routes.where("byVia", "192.0.2.3").map((route) => route.pod)).toEqual(["b"]);
  });

  test("10,000 rows: one change computes one input row", () => {
    const { database, pods, nodes, calls, routes } = setUpRoutes();
    database.write(() => {
      for (let i = 0; i < 100; i++) nodes.put({ name: `n${i}`, address: `192.0.2.${i}` });
      for (let i = 0; i < 10_000; i++) pods.put({ name: `p${i}`, node: `n${i % 100}`, ip: `ip${i}` });
    });
    expect(calls.length).toBe(10_000);
    expect(routes.size).toBe(10_000);
    calls.length = 0;
    const batches: number[] = [];
    routes.watch(({ changes }) => batches.push(changes.length));
    database.write(() => pods.put({ name: "p77", node: "n3", ip: "ip77" }));
    expect(calls).toEqual(["p77"]);
    database.write(() => nodes.put({ name: "n5", address: "198.51.100.5" }));
    expect(calls.length).toBe(1 + 100);
    expect(batches).toEqual([1, 100]);
  });

  test("gives a contested key to the smallest input key, and to the next when that goes", () => {
    const { database, pods, nodes, routes } = setUpRoutes();
    database.write(() => {
      nodes.put({ name: "n", address: "192.0.2.1" });
      for (const name of ["b", "c", "a"]) pods.put({ name, node: "n", ip: "10.0.0.1" });
    });
    expect(routes.get("10.0.0.1")?.pod).toBe("a");
    expect([...routes.conflicts()]).toEqual([["10.0.0.1", ["a", "b", "c"]]]);
    database.write(() => pods.delete("a"));
    expect(routes.get("10.0.0.1")?.pod).toBe("b");
    database.write(() => pods.put({ name: "b", node: "n", ip: "10.0.0.2" }));
    expect(routes.rows().map((route) => route.pod)).toEqual(["c", "b"]);
    expect(routes.conflicts().size).toBe(0);
    database.write(() => pods.put({ name: "a", node: "n", ip: "10.0.0.1" }));
    expect(routes.get("10.0.0.1")?.pod).toBe("a");
  });

  test("counts the first row when one input row yields a key twice", () => {
    const { database, pods } = setUp();
    const table = derive<Pod, Pod>({
      name: "twice",
      input: pods,
      key: (pod) => pod.ip,
      rows: (pod) => [pod, { ...pod, name: "second" }],
    });
    database.write(() => pods.put({ name: "a", node: "n", ip: "x" }));
    expect(table.rows().map((pod) => pod.name)).toEqual(["a"]);
  });

  test("drops the rows of a computation that throws, until it succeeds", () => {
    const { database, pods, nodes, routes } = setUpRoutes();
    database.write(() => {
      nodes.put({ name: "n", address: "192.0.2.1" });
      pods.put({ name: "a", node: "n", ip: "10.0.0.1" });
    });
    database.write(() => nodes.put({ name: "n", address: "bad" }));
    expect(routes.size).toBe(0);
    expect(isInvalid(routes.errors().get("a"))).toBe(true);
    database.write(() => nodes.put({ name: "n", address: "192.0.2.2" }));
    expect(routes.errors().size).toBe(0);
    expect(routes.get("10.0.0.1")?.via).toBe("192.0.2.2");
    database.write(() => nodes.put({ name: "n", address: "bad" }));
    database.write(() => pods.delete("a"));
    expect(routes.errors().size).toBe(0);
  });

  test("in a chain is computed once per commit, and sees one state", () => {
    const { database, pods, nodes, routes } = setUpRoutes();
    const calls: string[] = [];
    const perNode = derive<Node, { readonly node: string; readonly pods: string; readonly routes: number }>({
      name: "per-node",
      input: nodes,
      key: (row) => row.node,
      rows(node, read) {
        calls.push(node.name);
        const names = read.where(pods, "byNode", node.name).map((pod) => pod.name);
        const mine = read.where(routes, "byVia", node.address);
        return [{ node: node.name, pods: names.join(), routes: mine.length }];
      },
    });
    const total = derive<Node, { readonly key: string; readonly count: number }>({
      name: "total",
      input: nodes,
      key: (row) => row.key,
      rows: (node, read) => [
        { key: node.name, count: read.all(perNode).reduce((sum, row) => sum + row.routes, 0) },
      ],
    });
    const order: string[] = [];
    database.watch(({ tables }) => order.push(tables.map(({ table }) => table.name).join()));
    database.write(() => {
      nodes.put({ name: "n", address: "192.0.2.1" });
      pods.put({ name: "a", node: "n", ip: "10.0.0.1" });
      pods.put({ name: "b", node: "n", ip: "10.0.0.2" });
    });
    expect(calls).toEqual(["n"]);
    expect(perNode.rows()).toEqual([{ node: "n", pods: "a,b", routes: 2 }]);
    expect(total.get("n")?.count).toBe(2);
    expect(order).toEqual(["pods,nodes,routes,per-node,total"]);
  });

  test("stops where nothing changes", () => {
    const { database, pods } = setUp();
    const distinct = derive<Pod, string>({
      name: "node-names",
      input: pods,
      key: (name) => name,
      rows: (pod) => [pod.node],
    });
    let calls = 0;
    const upper = derive<string, string>({
      name: "upper",
      input: distinct,
      key: (name) => name,
      rows(name) {
        calls++;
        return [name.toUpperCase()];
      },
    });
    database.write(() => {
      for (const name of ["a", "b", "c"]) pods.put({ name, node: "n", ip: name });
    });
    database.write(() => pods.delete("a"));
    database.write(() => pods.put({ name: "b", node: "n", ip: "other" }));
    expect(upper.rows()).toEqual(["N"]);
    expect(calls).toBe(1);
    expect(distinct.conflicts().size).toBe(0);
  });

  test("refuses to write, to read what was derived later, another database, and after the end", () => {
    const { database, pods, nodes } = setUp();
    const other = setUp();
    let kept: Reader | undefined;
    database.write(() => {
      for (const name of ["foreign", "later", "write"]) pods.put({ name, node: "n", ip: name });
    });
    const bad = derive<Pod, string>({
      name: "bad",
      input: pods,
      key: (row) => row,
      rows(pod, read) {
        kept = read;
        if (pod.name === "foreign") read.all(other.pods);
        if (pod.name === "later") read.all(bad);
        if (pod.name === "write") database.write(() => nodes.delete("n"));
        return [];
      },
    });
    expect([...bad.errors().keys()]).toEqual(["foreign", "later", "write"]);
    expect(bad.errors().get("foreign")?.message).toContain("another database");
    expect(bad.errors().get("write")?.message).toContain("cannot write");
    expect(() => kept?.all(nodes)).toThrow("after its computation");
    expect(() =>
      database.write(() => derive({ name: "x", input: pods, key: String, rows: () => [] })),
    ).toThrow("during a write");
  });
});
