/** An agent that is away, that is starting, that cannot start, or that has no address left. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseIpWithLength } from "@weft/base";
import { readDirectory } from "@weft/cluster";
import { writeKubeconfig } from "@weft/cluster/client/testing";
import { enqueue } from "@weft/plugin-weft";
import { conflistText } from "./conflist.ts";
import { Baseline } from "./testing/baseline.ts";
import { ADDRESSES, BLOCKS, NODE, TestNode, type TestNodeOptions } from "./testing/node.ts";
import { ownPart, viewOf } from "./testing/view.ts";
import { eventually } from "./testing/wait.ts";

setDefaultTimeout(240_000);

/** A test with a node of its own, beside the others: most of their time is waiting. */
function nodeTest(
  what: string,
  body: (node: TestNode) => Promise<void>,
  options: TestNodeOptions = {},
): void {
  test.concurrent(what, async () => {
    const node = new TestNode(options);
    try {
      await body(node);
    } finally {
      await node.close();
    }
  });
}

describe("the agent is away", () => {
  nodeTest("ADD is 100 and leaves nothing; STATUS is 50", async (node) => {
    const before = viewOf(node.node);
    const pod = node.pod();
    const { error } = await node.call("ADD", pod);
    expect(error).toMatchObject({ code: 100, msg: expect.stringContaining(node.options.socket) });
    expect(error?.details).toContain("Is the agent running");
    expect((await node.call("STATUS", undefined)).error?.code).toBe(50);
    expect(viewOf(node.node)).toEqual(before);
    expect(pod.self.link("eth0")).toBeUndefined();
    expect(node.queue()).toEqual([]);
  });

  nodeTest("DEL succeeds, waits on disk, and is done at the start before any ADD is taken", async (node) => {
    await node.start();
    const [again, gone] = [await node.add(), await node.add()];
    await node.stop();
    for (const pod of [again, gone]) await node.del(pod);
    await node.del(again);
    expect(node.queue().length).toBe(2);
    node.removePod(gone);
    // The drain is slow, and an ADD of a container whose deletion waits comes meanwhile.
    node.writeFaults("stall del:received 300");
    const starting = node.start("listening");
    await starting;
    await node.add(again);
    await node.settled();
    expect(node.queue()).toEqual([]);
    expect((await node.status()).workloads.map((w) => w.containerId)).toEqual([again.containerId]);
    again.sh(`ping -c1 -W20 ${ADDRESSES[0]}`);
  });

  nodeTest(
    "what another plugin leaves in the queue is done while the agent runs, before an ADD",
    async (node) => {
      await node.start();
      const pod = await node.add();
      const { containerId } = pod;
      const empty = { podNamespace: undefined, podName: undefined, podUid: undefined };
      const request = { network: "weft", containerId, interface: "eth0", namespacePath: undefined, ...empty };
      enqueue(node.options.queue, request);
      const before = pod.addresses;
      await node.add(pod);
      expect(pod.addresses).not.toEqual(before);
      enqueue(node.options.queue, request);
      await eventually("the queue is empty", () => node.queue().length === 0);
      expect((await node.status()).workloads).toEqual([]);
    },
  );

  nodeTest("damaged and abandoned files in the queue do not stay in the way", async (node) => {
    mkdirSync(node.options.queue, { recursive: true });
    const file = (name: string): string => `${node.options.queue}/${name}`;
    writeFileSync(file("a.json"), "{");
    writeFileSync(file("b.json"), '{"containerId":7}');
    writeFileSync(file("c.json.1.tmp"), "{");
    writeFileSync(file("d.json.1.tmp"), "{");
    utimesSync(file("c.json.1.tmp"), 0, 0);
    await node.start();
    await node.add();
    await eventually("only the young one is there", () => node.queue().join() === "d.json.1.tmp");
  });

  nodeTest("what cannot be removed from the queue keeps nobody from working on", async (node) => {
    await node.start();
    const { pid } = node.agent as Bun.Subprocess;
    const pod = await node.add();
    const stuck = `${node.options.queue}/e.json.1.tmp`;
    // No file, which is as good as one on a file system that can be read only.
    mkdirSync(stuck, { recursive: true });
    utimesSync(stuck, 0, 0);
    await eventually("it was tried", () => node.log().includes("not all could be tidied up"));
    const { containerId } = pod;
    const empty = { podNamespace: undefined, podName: undefined, podUid: undefined };
    enqueue(node.options.queue, {
      network: "weft",
      containerId,
      interface: "eth0",
      namespacePath: undefined,
      ...empty,
    });
    await eventually("what can be done is done", () => node.queue().join() === "e.json.1.tmp");
    expect((await node.status()).workloads).toEqual([]);
    expect(node.agent?.pid).toBe(pid);
    expect(node.log().split("not all could be tidied up")).toHaveLength(2);
  });

  nodeTest("DEL fails with 5 when it cannot be left on disk: the runtime must try again", async (node) => {
    writeFileSync(`${node.root}/file`, "");
    const { error } = await node.call("DEL", node.pod(), {
      configuration: { queue: `${node.root}/file/queue` },
    });
    expect(error).toMatchObject({ code: 5, msg: expect.stringContaining("deletion cannot be left") });
    expect(error?.details).toContain("ENOTDIR");
  });
});

describe("the API server is away", () => {
  /** Credentials for a place where nothing listens. */
  const flagsFor = (node: TestNode): string[] => {
    const file = writeKubeconfig(`${node.root}/kubeconfig`, "https://127.0.0.1:9", { user: { token: "t" } });
    return ["--kubeconfig", file];
  };

  nodeTest(
    "with nothing known: ADD waits, is 107 at its deadline, and says who does not answer",
    async (node) => {
      await node.start("listening", flagsFor(node));
      await eventually("the reason is known", async () => (await node.status()).source.includes("refused"));
      const said = expect.stringMatching(
        /https:\/\/127\.0\.0\.1:9: away since 20.*: nothing is known yet \(.*connection refused/,
      );
      const { error } = await node.call("ADD", node.pod());
      expect(error).toMatchObject({ code: 107, msg: said });
      expect((await node.call("STATUS", undefined)).error).toMatchObject({ code: 50, msg: said });
      expect(existsSync(node.options.conflist)).toBe(false);
    },
  );

  nodeTest("with the last reading on disk: pods start, and status says how old it is", async (node) => {
    const { nodes, blocks } = readDirectory(`${node.root}/etc/weft/cluster`);
    mkdirSync(dirname(node.options.ledger), { recursive: true });
    writeFileSync(`${node.root}/var/lib/weft/cluster.json`, JSON.stringify({ nodes, blocks }));
    await node.start("ready", flagsFor(node));
    const pod = await node.add();
    pod.sh(`ping -c1 -W20 ${ADDRESSES[0]}`);
    await eventually("status says so", async () =>
      /away since 20.*: the last known state is in force \(.*refused/.test((await node.status()).source),
    );
    await node.del(pod);
  });
});

describe("the node is not ready", () => {
  nodeTest(
    "its address is on no link: ADD is 107 with the reason, DEL succeeds, and it recovers by itself",
    async (node) => {
      await node.start("listening");
      const pod = node.pod();
      await eventually("the reason is known", async () => (await node.status()).problems.length > 0);
      const { error } = await node.call("ADD", pod);
      expect(error?.code).toBe(107);
      expect(error?.msg).toContain(
        "172.30.0.11 is on none of this machine's links. Give the link its address",
      );
      await node.del(pod);
      const status = await node.call("STATUS", undefined);
      expect(status.error).toMatchObject({ code: 50, msg: expect.stringContaining("172.30.0.11") });
      expect(existsSync(node.options.conflist)).toBe(false);
      expect(ownPart(viewOf(node.node))).toEqual([]);
      for (const address of ["172.30.0.11/24", "fd00:30::11/64"]) {
        node.node.self.replaceAddress({ link: "eth0", address: parseIpWithLength(address) });
      }
      await eventually("it is ready", async () => (await node.status()).ready);
      await node.add(pod);
      pod.sh("ping -c1 -W20 172.30.0.11");
      expect(readFileSync(node.options.conflist, "utf8")).toBe(conflistText(node.options));
    },
    { uplinkAddresses: ["172.30.0.99/24"] },
  );

  nodeTest("there is no Node of that name: 107, until there is", async (node) => {
    node.removeNode(NODE);
    await node.start("listening");
    await eventually("the reason is known", async () => (await node.status()).problems.length > 0);
    const pod = node.pod();
    expect((await node.call("ADD", pod)).error).toMatchObject({
      code: 107,
      msg: expect.stringContaining("there is no Node named node1"),
    });
    node.writeNode(NODE, ADDRESSES, BLOCKS);
    await eventually("it is ready", async () => (await node.status()).ready);
    await node.add(pod);
  });

  nodeTest(
    "an ADD waits for a starting agent, for longer than the runtime keeps a silent connection",
    async (node) => {
      node.writeFaults("stall compile 12000");
      await node.start("listening");
      await node.add();
      expect((await node.status()).ready).toBe(true);
    },
  );

  nodeTest("a configuration that cannot be written is tried again", async (node) => {
    const directory = dirname(node.options.conflist);
    mkdirSync(dirname(directory), { recursive: true });
    writeFileSync(directory, "in the way");
    await node.start();
    await node.add();
    expect(node.log()).toContain("cannot write the network configuration");
    rmSync(directory);
    await eventually("it is written", () => existsSync(node.options.conflist));
  });
});

nodeTest(
  "a range that is exhausted: 102, and nothing is left; what is freed is given again",
  async (node) => {
    await node.start();
    // Eight addresses: the first, the last and the tunnel's are no pod's.
    const pods = [];
    for (let i = 0; i < 5; i++) pods.push(await node.add());
    expect(pods.map((p) => p.addresses[0])).toEqual([2, 3, 4, 5, 6].map((i) => `10.240.9.${i}`));
    const full = await Baseline.of(node);
    const extra = node.pod();
    const { error } = await node.call("ADD", extra);
    expect(error).toMatchObject({ code: 102, msg: expect.stringContaining("10.240.9.0/29") });
    expect(error?.details).toContain("larger block");
    await full.expectSame();
    const [freed] = pods;
    if (freed === undefined) throw new Error("no pod");
    await node.del(freed);
    await node.add(extra);
    expect(extra.addresses).toEqual(freed.addresses);
    for (const pod of [extra, ...pods.slice(1)]) await node.del(pod);
    expect((await node.status()).blocks.map((b) => b.used)).toEqual([0]);
  },
  { blocks: ["10.240.9.0/29"], addresses: ["172.30.0.11"] },
);

describe("the socket is root's alone", () => {
  nodeTest("modes of directory and socket, and what another user is told", async (node) => {
    await node.start();
    const { socket } = node.options;
    const mode = (path: string): string => node.node.sh(`stat -c %a:%u:%g ${path}`).trim();
    expect(mode(dirname(socket))).toBe("700:0:0");
    expect(mode(socket)).toBe("600:0:0");
    expect(mode(node.options.ledger.replace(/\/[^/]*$/, ""))).toBe("700:0:0");
    expect(mode(node.options.conflist)).toBe("600:0:0");
    // Open every directory above the socket, so that nothing but its own modes is in the way.
    chmodSync(node.root, 0o755);
    chmodSync(dirname(socket), 0o755);
    const script = `await fetch("http://weft/v1/status", { unix: "${socket}" }).then(
      () => console.log("connected"), (e) => console.log(e.code ?? String(e)))`;
    const asUser = (uid: number): string =>
      node.node
        .try("setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", process.execPath, "-e", script)
        .out.trim();
    expect(asUser(65534)).toBe("EACCES");
    expect(asUser(0)).toBe("connected");
  });

  nodeTest("a restarted agent closes what somebody opened", async (node) => {
    await node.start();
    const { socket } = node.options;
    chmodSync(dirname(socket), 0o777);
    chmodSync(socket, 0o666);
    await node.stop();
    await node.start();
    expect(
      node.node
        .sh(`stat -c %a ${dirname(socket)} ${socket}`)
        .trim()
        .split("\n"),
    ).toEqual(["700", "600"]);
  });
});
