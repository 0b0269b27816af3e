/** Ports of the node that lead to pods: real packets, who may have which, and that nothing of them is left. */
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type Dial, dial, Server } from "@weft/kernel/netns/testing";
import { Baseline } from "./testing/baseline.ts";
import type { TestNamespace } from "./testing/namespaces.ts";
import { ADDRESSES, type Answer, TestNode, type TestPod } from "./testing/node.ts";
import { changes, viewOf } from "./testing/view.ts";
import { eventually } from "./testing/wait.ts";

setDefaultTimeout(240_000);

const OUTSIDE = ["172.30.0.1", "fd00:30::1"];
const LOOPBACK = ["127.0.0.1", "::1"];
/** Where the pods' servers listen. */
const PORT = 8000;

let node: TestNode;
let baseline: Baseline;
beforeAll(async () => {
  node = new TestNode();
  await node.start();
  // The first one makes the table, which stays.
  expect(node.node.try("nft", "list", "table", "inet", "weft-hostports").code).toBe(1);
  const first = await node.add(node.pod(), { configuration: runtimeConfig([{ hostPort: 1 }]) });
  await node.del(first);
  node.removePod(first);
  await node.settled();
  baseline = await Baseline.of(node);
});
afterAll(() => node.close());

const servers: Server[] = [];
const pods: TestPod[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  for (const pod of pods.splice(0)) {
    await node.del(pod);
    node.removePod(pod);
  }
  await baseline.expectSoon();
});

interface Mapping {
  readonly hostPort: number;
  readonly containerPort?: number;
  readonly protocol?: string;
  readonly hostIP?: string;
}
const runtimeConfig = (mappings: readonly Mapping[]): object => ({
  runtimeConfig: { portMappings: mappings.map((m) => ({ containerPort: PORT, protocol: "tcp", ...m })) },
});
const pod = (): TestPod => {
  const made = node.pod();
  pods.push(made);
  return made;
};

/** An ADD that must succeed, with a server in the pod. */
async function serve(name: string, ...mappings: readonly Mapping[]): Promise<TestPod> {
  const made = await node.add(pod(), {
    configuration: runtimeConfig(mappings),
    environment: { CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name}` },
  });
  servers.push(new Server(made.self, name, PORT));
  return made;
}

const attempt = (of: TestPod, mappings: readonly Mapping[], more: object = {}): Promise<Answer> =>
  node.call("ADD", of, { configuration: runtimeConfig(mappings), ...more });
const asked = (from: TestNamespace, to: Dial): Promise<string> => dial(from.self, servers, to);
const rules = (): string => node.node.sh("nft -a list table inet weft-hostports");

/** Rows of host ports that were repaired, and leftovers that were removed, since the agent's start. */
async function putRight(): Promise<number> {
  const { plan } = await node.status();
  const kinds = plan.filter((t) => t.kind.startsWith("host-port"));
  return kinds.reduce((sum, t) => sum + t.repaired + t.pruned, 0);
}

for (const [i, family] of [
  [0, "IPv4"],
  [1, "IPv6"],
] as const) {
  const [ip = "", outside = "", loopback = ""] = [ADDRESSES[i], OUTSIDE[i], LOOPBACK[i]];
  for (const protocol of ["tcp", "udp"] as const) {
    test(`${family}, ${protocol}: everybody reaches the pod by the node's port, and is seen as who it is`, async () => {
      const a = await serve("a", { hostPort: 8080, protocol }, { hostPort: 8081, protocol });
      const b = await serve("b");
      const to = { ip, port: 8080, protocol };
      expect({
        outside: await asked(node.outside, to),
        second: await asked(node.outside, { ...to, port: 8081 }),
        pod: await asked(b, to),
        itself: await asked(a, to),
        node: await asked(node.node, to),
        // As a process that binds to the node's address: loopback's own stays on the node.
        loopback: await asked(node.node, { ...to, ip: loopback, from: ip }),
        fromLoopback: await asked(node.node, { ...to, ip: loopback }),
        otherPort: await asked(node.outside, { ...to, port: PORT }),
        otherProtocol: await asked(node.outside, { ...to, protocol: protocol === "tcp" ? "udp" : "tcp" }),
        untranslated: await asked(b, { ip: a.addresses[i] ?? "", port: PORT, protocol }),
      }).toEqual({
        outside: `a from ${outside}`,
        second: `a from ${outside}`,
        pod: `a from ${b.addresses[i]}`,
        itself: `a from ${ip}`,
        node: `a from ${ip}`,
        loopback: `a from ${ip}`,
        fromLoopback: "ECONNREFUSED",
        otherPort: "ECONNREFUSED",
        otherProtocol: "ECONNREFUSED",
        untranslated: `a from ${b.addresses[i]}`,
      });
    });
  }

  test(`${family}: one port by three pods, at other addresses and of another protocol`, async () => {
    await serve("one", { hostPort: 54323, hostIP: loopback });
    await serve("two", { hostPort: 54323, hostIP: ip });
    await serve("three", { hostPort: 54323, hostIP: ip, protocol: "udp" });
    const to = { ip, port: 54323 };
    expect([
      await asked(node.node, { ...to, ip: loopback, from: ip }),
      await asked(node.node, to),
      await asked(node.outside, to),
      await asked(node.node, { ...to, protocol: "udp" }),
      await asked(node.outside, { ...to, protocol: "udp" }),
    ]).toEqual([
      `one from ${ip}`,
      `two from ${ip}`,
      `two from ${outside}`,
      `three from ${ip}`,
      `three from ${outside}`,
    ]);
  });

  test(`${family}: all addresses of the family are not those of the other`, async () => {
    await serve("a", { hostPort: 8080, hostIP: family === "IPv4" ? "0.0.0.0" : "::" });
    const outcomes = await Promise.all(ADDRESSES.map((at) => asked(node.outside, { ip: at, port: 8080 })));
    expect(outcomes[i]).toBe(`a from ${outside}`);
    expect(outcomes[1 - i]).toBe("ECONNREFUSED");
  });
}

test("what the pod sends to others is translated as before, and its answers are not", async () => {
  const a = await serve("a", { hostPort: 8080 });
  servers.push(new Server(node.outside.self, "outside", PORT));
  expect(await asked(a, { ip: OUTSIDE[0] as string, port: PORT })).toBe(`outside from ${ADDRESSES[0]}`);
  expect(await asked(node.outside, { ip: ADDRESSES[0] as string, port: 8080 })).toBe(`a from ${OUTSIDE[0]}`);
});

test("as containerd writes them; SCTP, and ports that publish nothing", async () => {
  const portMappings = [
    { HostPort: 8080, ContainerPort: PORT, Protocol: "tcp", HostIP: "" },
    { HostPort: 0, ContainerPort: 81, Protocol: "tcp", HostIP: "" },
    { HostPort: 9, ContainerPort: 99, Protocol: "sctp", HostIP: "0.0.0.0" },
  ];
  const a = await node.add(pod(), { configuration: { runtimeConfig: { portMappings } } });
  servers.push(new Server(a.self, "a", PORT));
  expect(await asked(node.outside, { ip: ADDRESSES[1] as string, port: 8080 })).toBe(`a from ${OUTSIDE[1]}`);
  expect(rules()).toContain(`sctp . 9 : ${a.addresses[0]} . 99`);
  const { plan } = await node.status();
  const items = plan.find((t) => t.kind === "host-port")?.items ?? [];
  expect(items.map((r) => r.key).sort()).toEqual(["0.0.0.0:8080/tcp", "0.0.0.0:9/sctp", "[::]:8080/tcp"]);
});

test("each row tells which pod asked for it", async () => {
  await serve("web", { hostPort: 8080, hostIP: "127.0.0.1" });
  const { plan } = await node.status();
  const [row] = plan.find((t) => t.kind === "host-port")?.items ?? [];
  expect(row?.origin).toEqual({
    kind: "Pod",
    namespace: "default",
    name: "web",
    field: "spec.containers[*].ports[hostPort=8080]",
  });
});

describe("whoever comes second", () => {
  test("is refused and told who has the port, and leaves nothing; then it is free", async () => {
    const first = await serve("web-0", { hostPort: 8080 });
    const before = viewOf(node.node);
    const second = pod();
    for (const hostIP of ["", "127.0.0.1", "fd00:30::11", "::"]) {
      const { exit, error } = await attempt(second, [{ hostPort: 8080, hostIP }]);
      expect(exit).toBe(1);
      expect(error?.code).toBe(114);
      expect(error?.msg).toContain("8080/tcp is held by Pod default/web-0 (container ");
      expect(error?.details).toContain("give one another");
    }
    expect(changes(before, viewOf(node.node))).toEqual([]);
    expect(await asked(node.outside, { ip: ADDRESSES[0] as string, port: 8080 })).toBe(
      `web-0 from ${OUTSIDE[0]}`,
    );
    await node.del(first);
    expect((await attempt(second, [{ hostPort: 8080 }])).exit).toBe(0);
  });

  test("waits for one that is going", async () => {
    const first = await serve("web-0", { hostPort: 8080 });
    const second = attempt(pod(), [{ hostPort: 8080 }]);
    await Bun.sleep(500);
    await node.del(first);
    expect((await second).exit).toBe(0);
  });

  test("gets it at once from one whose namespace is gone without a DEL", async () => {
    const gone = await node.add(node.pod(), { configuration: runtimeConfig([{ hostPort: 8080 }]) });
    node.removePod(gone);
    expect((await attempt(pod(), [{ hostPort: 8080 }])).exit).toBe(0);
  });

  test("at the same time: one of many gets it", async () => {
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => attempt(pod(), [{ hostPort: 8080 }, { hostPort: 8081 }])),
    );
    expect(answers.map((a) => a.error?.code ?? 0).sort()).toEqual([0, 114, 114, 114, 114, 114]);
  });

  test("a second ADD of the same container is told that it is attached", async () => {
    const first = await serve("web-0", { hostPort: 8080 });
    expect((await attempt(first, [{ hostPort: 8080 }])).error?.msg).toContain("attached already");
  });
});

test.each([
  [{ hostPort: 8080, containerPort: 0 }, "container port 0"],
  [{ hostPort: 65536 }, "hostPort"],
  [{ hostPort: -1 }, "hostPort"],
  [{ hostPort: 80, protocol: "icmp" }, "not tcp, udp or sctp"],
  [{ hostPort: 80, hostIP: "localhost" }, "hostIP"],
  [{ hostPort: 80, hostIP: "10.0.0.0/8" }, "hostIP"],
] as const)("%j is refused, and a DEL with it is not", async (mapping, message) => {
  const one = pod();
  const { error } = await attempt(one, [mapping]);
  expect(error?.code).toBe(7);
  expect(error?.msg).toContain(message);
  await node.del(one, { configuration: runtimeConfig([mapping]) });
});

test("one pod cannot lead a port to two of its own; to say the same twice is no matter", async () => {
  const { error } = await attempt(pod(), [
    { hostPort: 8080, containerPort: 1 },
    { hostPort: 8080, containerPort: 2, hostIP: "::" },
  ]);
  expect(error?.code).toBe(7);
  expect(error?.msg).toContain("leads to two ports of the container, 1 and 2");
  // The address that is named comes before all of them.
  const same = { hostPort: 8080, hostIP: "0.0.0.0" };
  await serve("a", { hostPort: 8080 }, same, same, {
    hostPort: 8080,
    hostIP: "127.0.0.1",
    containerPort: 81,
  });
  expect(await asked(node.outside, { ip: ADDRESSES[0] as string, port: 8080 })).toBe(`a from ${OUTSIDE[0]}`);
});

test("a restart changes nothing, and what somebody breaks is put right", async () => {
  const a = await serve("a", { hostPort: 8080 }, { hostPort: 53, protocol: "udp", hostIP: "172.30.0.11" });
  const before = rules();
  await node.stop("SIGKILL");
  expect(await asked(node.outside, { ip: ADDRESSES[0] as string, port: 8080 })).toBe(`a from ${OUTSIDE[0]}`);
  await node.start();
  await node.settled();
  expect(rules()).toBe(before);
  for (const damage of [
    "nft delete element inet weft-hostports any4 { tcp . 8080 }",
    `nft add element inet weft-hostports any4 { tcp . 9999 : ${a.addresses[0]} . 80 }`,
    "nft flush map inet weft-hostports addressed4",
    `nft delete element inet weft-hostports hairpins6 { ${a.addresses[1]} . ${a.addresses[1]} }`,
    "nft flush chain inet weft-hostports published",
    "nft delete table inet weft-hostports",
  ]) {
    const [view, count] = [viewOf(node.node), await putRight()];
    node.node.run(...damage.split(" "));
    await eventually(
      `repaired: ${damage}`,
      async () => (await putRight()) > count && changes(view, viewOf(node.node)).length === 0,
      // Less than the look at everything takes to come round.
      25_000,
    );
  }
  expect(await asked(a, { ip: ADDRESSES[1] as string, port: 8080 })).toBe(`a from ${ADDRESSES[1]}`);
});

test("killed at any step of ADD and DEL, the port is free afterwards", async () => {
  const mappings = [{ hostPort: 8080 }];
  for (const step of [
    "add:address-allocated",
    "add:applied",
    "add:read-back",
    "del:marked",
    "del:planned",
    "del:applied",
  ]) {
    const victim = node.pod();
    node.writeFaults(`kill ${step}`);
    const added = await attempt(victim, mappings);
    if (step.startsWith("del:")) {
      expect([step, added.exit]).toEqual([step, 0]);
      // It is left in the queue.
      await node.del(victim);
    } else expect([step, added.exit]).toEqual([step, 1]);
    await node.restartAfterFault();
    await node.settled();
    const next = node.pod();
    expect([step, (await attempt(next, mappings)).exit]).toEqual([step, 0]);
    for (const each of [victim, next]) {
      await node.del(each);
      node.removePod(each);
    }
  }
});

test("deleted while the agent is away, and by GC", async () => {
  const [a, b] = [await serve("a", { hostPort: 8080 }), await serve("b", { hostPort: 8081 })];
  await node.stop("SIGKILL");
  await node.del(a);
  await node.start();
  await node.settled();
  expect(rules()).not.toContain("8080");
  expect(rules()).toContain("8081");
  const { exit } = await node.call("GC", undefined, {
    configuration: { "cni.dev/valid-attachments": [], "cni.dev/attachments": [] },
  });
  expect(exit).toBe(0);
  expect(rules()).not.toContain("8081");
  await node.del(b);
});

for (const [i, family] of [
  [0, "IPv4"],
  [1, "IPv6"],
] as const) {
  test(`${family}: a client of UDP that keeps its port finds the pod that comes, and the one after it`, async () => {
    const to = { ip: ADDRESSES[i] as string, port: 54400, protocol: "udp", fromPort: 41000 } as const;
    const from = OUTSIDE[i];
    expect(await asked(node.outside, to)).toBe("ECONNREFUSED");
    const first = await serve("first", { hostPort: 54400, protocol: "udp" });
    expect(await asked(node.outside, to)).toBe(`first from ${from}`);
    await node.del(first);
    await serve("second", { hostPort: 54400, protocol: "udp" });
    expect(await asked(node.outside, to)).toBe(`second from ${from}`);
  });
}
