/** What is wrong with a request is answered with its code and with what to do, and leaves nothing behind. */
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { parseMac } from "@weft/base";
import { hostLinkOf } from "./attachments.ts";
import { Baseline } from "./testing/baseline.ts";
import { type Answer, type CallOptions, TestNode } from "./testing/node.ts";
import { viewOf } from "./testing/view.ts";

setDefaultTimeout(240_000);
const MAC = parseMac("02:00:00:00:00:99");

let node: TestNode;
let baseline: Baseline;
beforeAll(async () => {
  node = new TestNode();
  await node.start();
  await node.del(await node.add());
  await node.settled();
  baseline = await Baseline.of(node);
});
afterAll(() => node.close());

/** Expects the code, words in the message or details, and advice. */
function expectError({ exit, error }: Answer, code: number, ...words: string[]): void {
  expect({ exit, code: error?.code, msg: error?.msg }).toEqual({ exit: 1, code, msg: expect.any(String) });
  const text = `${error?.msg} ${error?.details ?? ""}`;
  for (const word of words) expect(text).toContain(word);
}

describe("a refused ADD leaves nothing", () => {
  afterEach(() => baseline.expectSame());

  const cases: readonly [string, number, CallOptions, ...string[]][] = [
    ["malformed standard input", 6, { stdin: "{" }, "JSON"],
    ["no standard input", 6, { stdin: "" }],
    ["an unknown version", 1, { configuration: { cniVersion: "9.0.0" } }, "9.0.0", "1.1.0", "cniVersion"],
    ["a version that is none", 6, { configuration: { cniVersion: "x" } }],
    ["no container", 4, { environment: { CNI_CONTAINERID: "" } }, "CNI_CONTAINERID"],
    ["no namespace", 4, { netns: null }, "CNI_NETNS"],
    ["no interface", 4, { environment: { CNI_IFNAME: "" } }, "CNI_IFNAME"],
    ["a path that names nothing", 104, { netns: "/run/netns/weft-absent" }, "/run/netns/weft-absent"],
    ["a path that names no namespace", 104, { netns: "/etc/hostname" }, "/etc/hostname"],
    ["a socket that is no path", 7, { configuration: { socket: 7 } }, "socket", "/run/weft/agent.sock"],
    ["a relative queue", 7, { configuration: { queue: "here" } }, "queue"],
  ];
  test.each(cases)("%s: %d", async (_, code, options, ...words) => {
    const pod = node.pod();
    const before = viewOf(pod);
    expectError(await node.call("ADD", pod, options), code, ...words);
    expect(viewOf(pod)).toEqual(before);
    node.removePod(pod);
  });

  test("the node's own namespace, seen by the plugin: 8", async () => {
    expectError(await node.call("ADD", undefined, { netns: node.node.path }), 8, node.node.path);
  });

  test("the node's own namespace, seen by the agent: 104", async () => {
    const environment = { CNI_NETNS_OVERRIDE: "1" };
    const answer = await node.call("ADD", undefined, { netns: node.node.path, environment });
    expectError(answer, 104, node.node.path, "hostNetwork");
  });

  test("an interface name that is taken: 103", async () => {
    const pod = node.pod();
    pod.sh("ip link add eth0 type veth peer name other0");
    expectError(await node.call("ADD", pod), 103, "eth0", "CNI_IFNAME");
    expect(pod.sh("ip -brief link")).toContain("eth0@other0");
    node.removePod(pod);
  });

  test("the host link's name is taken by something that is no veth: 113", async () => {
    const pod = node.pod();
    const name = hostLinkOf("weft", `${pod.containerId}/eth0`);
    node.node.self.createBridge(name, MAC, 1500);
    try {
      expectError(await node.call("ADD", pod), 113, name, `ip link del ${name}`);
      await node.del(pod);
      expect(node.node.self.link(name)?.kind).toBe("bridge");
      expect(pod.self.link("eth0")).toBeUndefined();
    } finally {
      await node.node.self.deleteLink(name);
      node.removePod(pod);
    }
  });
});

test("a veth that has the host link's name is ours by its name, and is replaced", async () => {
  const pod = node.pod();
  const name = hostLinkOf("weft", `${pod.containerId}/eth0`);
  node.node.sh(`ip link add ${name} type veth peer name foreign0`);
  await node.add(pod);
  expect(node.node.self.link("foreign0")).toBeUndefined();
  pod.sh("ping -c1 -W20 172.30.0.11");
  await node.del(pod);
  node.removePod(pod);
  await baseline.expectSame();
});

describe("order of calls", () => {
  afterEach(() => baseline.expectSoon());

  test("a second ADD is 106 and changes nothing of the first", async () => {
    const pod = await node.add();
    const before = [viewOf(node.node), viewOf(pod)];
    expectError(await node.call("ADD", pod), 106, pod.containerId, "DEL");
    expect([viewOf(node.node), viewOf(pod)]).toEqual(before);
    await node.del(pod);
    node.removePod(pod);
  });

  test("DEL twice, without a namespace, of one that is gone, and of a container that nobody knows", async () => {
    const pod = await node.add();
    await node.del(pod, { netns: null });
    await node.del(pod);
    await node.del(pod, { netns: "/run/netns/weft-absent" });
    await node.del(pod, { containerId: "never-seen" });
    node.removePod(pod);
  });

  test("DEL of another network's interface of the same name leaves ours", async () => {
    const pod = await node.add();
    await node.del(pod, { configuration: { name: "other" } });
    pod.sh("ping -c1 -W20 172.30.0.11");
    await node.del(pod);
    node.removePod(pod);
  });

  test("the namespace went without a DEL", async () => {
    const pod = await node.add();
    node.removePod(pod);
  });

  test("two ADDs of one container at once: one wins, the other is 106", async () => {
    for (let round = 0; round < 5; round++) {
      const pod = node.pod();
      const answers = await Promise.all([node.call("ADD", pod), node.call("ADD", pod)]);
      expect(answers.map((a) => a.exit).sort()).toEqual([0, 1]);
      expectError(answers.find((a) => a.exit === 1) as Answer, 106);
      pod.sh("ping -c1 -W20 172.30.0.11");
      await node.del(pod);
      node.removePod(pod);
    }
  });

  test("ADD and DEL of one container at once: either order, nothing between", async () => {
    const outcomes = new Set<string>();
    for (let round = 0; round < 10; round++) {
      const pod = node.pod();
      const deleting = async (): Promise<void> => {
        await Bun.sleep(round);
        await node.del(pod);
      };
      const [{ exit }] = await Promise.all([node.call("ADD", pod), deleting()]);
      expect(exit).toBe(0);
      const attached = pod.self.link("eth0") !== undefined;
      outcomes.add(attached ? "DEL, ADD" : "ADD, DEL");
      expect((await node.status()).workloads.length).toBe(attached ? 1 : 0);
      await node.del(pod);
      node.removePod(pod);
    }
    console.log(`orders that happened: ${[...outcomes].join("; ")}`);
  });

  test("fifty ADDs of different containers at once", async () => {
    const pods = await Promise.all(Array.from({ length: 50 }, () => node.add()));
    expect(new Set(pods.flatMap((p) => p.addresses)).size).toBe(100);
    expect(new Set(pods.map((p) => p.hostLink)).size).toBe(50);
    expect(await node.drift()).toEqual([]);
    const last = pods.at(-1);
    for (const ip of pods[0]?.addresses ?? []) last?.sh(`ping -c1 -W20 ${ip}`);
    await Promise.all(pods.map((p) => node.del(p)));
    for (const pod of pods) node.removePod(pod);
  });
});

describe("clients that go away", () => {
  afterEach(() => baseline.expectSoon());

  test.each(["add:received", "add:address-allocated", "add:planned", "add:applied", "add:read-back"])(
    "a plugin killed while its ADD is at %s: taken back",
    async (place) => {
      const pod = node.pod();
      node.writeFaults(`stall ${place} 2000`);
      const stdin = Buffer.from(JSON.stringify(node.configuration()));
      const child = node.spawn([node.executable], { environment: node.environment("ADD", pod), stdin });
      await until(() => node.faultsLeft().length === 0);
      child.kill("SIGKILL");
      await child.exited;
      await until(async () => (await node.status()).workloads.length === 0);
      await baseline.expectSoon();
      expect(pod.self.link("eth0")).toBeUndefined();
      node.removePod(pod);
    },
  );

  test("an aborted HTTP request", async () => {
    const pod = node.pod();
    node.writeFaults("stall add:applied 2000");
    const abort = new AbortController();
    const request = node.request("POST", "/v1/cni/add", addBody(pod), abort.signal).catch(() => "aborted");
    await until(() => node.faultsLeft().length === 0);
    abort.abort();
    expect(await request).toBe("aborted");
    await baseline.expectSoon();
    node.removePod(pod);
  });
});

describe("the agent's socket", () => {
  afterEach(() => baseline.expectSame());

  test("a body that is too large is refused, and the agent goes on", async () => {
    const { status } = await node.request("POST", "/v1/cni/add", "x".repeat(5 << 20));
    expect(status).toBe(413);
    expect((await node.status()).ready).toBe(true);
  });

  const bodies: readonly [string, string, number][] = [
    ["/v1/cni/add", "{", 6],
    ["/v1/cni/add", "null", 7],
    ["/v1/cni/add", "[]", 7],
    ["/v1/cni/add", "{}", 7],
    ["/v1/cni/add", '{"network":"weft","containerId":"../x","interface":"eth0"}', 7],
    ["/v1/cni/add", '{"network":"weft","containerId":"x","interface":"a/b"}', 7],
    ["/v1/cni/add", '{"network":"weft","containerId":"x","interface":"eth0","namespacePath":5}', 7],
    ["/v1/cni/add", '{"network":"weft","containerId":"x","interface":"eth0"}', 104],
    ["/v1/cni/del", "{}", 7],
    ["/v1/cni/check", '{"network":"weft","containerId":"x","interface":"eth0"}', 111],
    ["/v1/cni/gc", "{}", 7],
    ["/v1/cni/gc", '{"network":"weft","validAttachments":{}}', 7],
    ["/v1/cni/gc", '{"network":"weft","validAttachments":[{"containerId":"x"}]}', 7],
    ["/v1/pause", "{}", 7],
    ["/v1/pause", '{"milliseconds":-1}', 7],
    ["/v1/pause", '{"milliseconds":1e99}', 7],
    ["/v1/nothing", "{}", 999],
  ];
  test.each(bodies)("POST %s %s: %d", async (path, body, code) => {
    const { status, text } = await node.request("POST", path, body);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(JSON.parse(text)).toMatchObject({ code, message: expect.any(String) });
  });

  test("a GC that cannot be read releases nothing", async () => {
    const pod = await node.add();
    await node.request("POST", "/v1/cni/gc", '{"network":"weft"}');
    await node.request("POST", "/v1/cni/gc", '{"network":"other","validAttachments":[]}');
    pod.sh("ping -c1 -W20 172.30.0.11");
    const { status } = await node.request("POST", "/v1/cni/gc", '{"network":"weft","validAttachments":[]}');
    expect(status).toBe(200);
    expect(pod.self.link("eth0")).toBeUndefined();
    node.removePod(pod);
  });

  test("bytes that are no HTTP, half a request, and connections that say nothing", async () => {
    const socket = { data: () => {}, error: () => {}, close: () => {} };
    const bytes = [
      crypto.getRandomValues(new Uint8Array(4096)),
      Buffer.from("\0".repeat(100)),
      Buffer.from("POST /v1/cni/add HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"),
      Buffer.from("POST /v1/cni/add HTTP/1.1\r\nContent-Length: -5\r\n\r\n"),
      Buffer.from(`GET /${"a".repeat(100_000)} HTTP/1.1\r\n\r\n`),
      Buffer.from(""),
    ];
    const open = await Promise.all(bytes.map(() => Bun.connect({ unix: node.options.socket, socket })));
    for (const [i, connection] of open.entries()) connection.write(bytes[i] as Uint8Array);
    await node.del(await node.add());
    for (const connection of open) connection.end();
    expect((await node.status()).ready).toBe(true);
  });
});

const addBody = (pod: { containerId: string; path: string }): string =>
  JSON.stringify({
    network: "weft",
    containerId: pod.containerId,
    interface: "eth0",
    namespacePath: pod.path,
  });

async function until(look: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 12_000; i++) {
    if (await look()) return;
    await Bun.sleep(5);
  }
  throw new Error("it did not happen");
}

beforeEach(() => node.writeFaults());
