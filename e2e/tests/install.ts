/** Weft into a cluster, to the next version and back, and out again, by the commands that a user has. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { archiveWeft } from "../build/programs.ts";
import { importImage } from "../cluster/node.ts";
import { urlHost } from "../cluster/ranges.ts";
import type { Cluster, Node } from "../cluster.ts";
import { run, until } from "../command.ts";
import { WEFT_IMAGE } from "../images/images.ts";
import {
  signalWeft,
  WEFT_NAMESPACE,
  weftAttempt,
  weftInstall,
  weftNetwork,
  weftStatus,
} from "../networks/weft.ts";
import { CACHE, CHECKOUT } from "../paths.ts";
import { podsReachPods } from "./common.ts";
import { hold } from "./faults.ts";
import { addressesOfPod, allReachAll, deletePods, inPod, type PodObject, pod, runPods } from "./pods.ts";
import type { Case, Suite } from "./suite.ts";

const STARTUP_TAINT = "weft.network/agent-not-ready";

interface NodeObject {
  readonly spec: { readonly taints?: readonly { readonly key: string }[] };
  readonly status: {
    readonly conditions: readonly { type: string; status: string; reason: string; message: string }[];
  };
}

const nodeObject = (cluster: Cluster, name: string): Promise<NodeObject> =>
  cluster.get<NodeObject>("node", name);

async function network(cluster: Cluster, name: string): Promise<string> {
  const { status } = await nodeObject(cluster, name);
  const c = status.conditions.find(({ type }) => type === "NetworkUnavailable");
  return c === undefined ? "absent" : `${c.status} ${c.reason}`;
}

async function taints(cluster: Cluster, name: string): Promise<string[]> {
  return ((await nodeObject(cluster, name)).spec.taints ?? []).map((t) => t.key);
}

const bootstrap: Case = {
  name: "a tainted node without kube-proxy: ready only after Weft is, which then takes the taint away",
  async run(cluster) {
    const node = await cluster.addBareNode(2);
    // Nobody provides services on it: the API server must be reached without.
    await node.machine.running("kube-proxy").stop();
    // Nor does a package provide the plugin that containerd runs first of all.
    node.machine.remove("/opt/cni/bin/loopback");
    await cluster.kubectl(["taint", "node", node.name, `${STARTUP_TAINT}=:NoSchedule`]);
    await until(`an agent is sent to ${node.name}`, 30, async () => {
      const { items } = await agents(cluster);
      return items.some((p) => p.spec.nodeName === node.name) ? true : undefined;
    });
    assert.equal(await network(cluster, node.name), "absent");
    assert((await taints(cluster, node.name)).includes(STARTUP_TAINT));
    await cluster.network.install(cluster, node);
    await until(`${node.name} has its network`, 90, async () =>
      (await network(cluster, node.name)) === "False WeftIsReady" ? true : undefined,
    );
    await until("the taint goes", 20, async () =>
      (await taints(cluster, node.name)).includes(STARTUP_TAINT) ? undefined : true,
    );
    await cluster.untilReady();
    node.machine.running("kube-proxy").start();
    for (const { name } of cluster.nodes)
      assert.equal(await network(cluster, name), "False WeftIsReady", name);
  },
};

interface WeftPod {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly nodeName?: string };
}

const podsOf = (cluster: Cluster, component: string): Promise<{ items: WeftPod[] }> =>
  cluster.get("pods", "-n", WEFT_NAMESPACE, "-l", `app.kubernetes.io/component=${component}`);
const agents = (cluster: Cluster): Promise<{ items: WeftPod[] }> => podsOf(cluster, "agent");

const takeover: Case = {
  name: "the leading controller is killed: another one leads, and does its work",
  async run(cluster) {
    const holder = async (): Promise<string> =>
      (
        await cluster.get<{ spec: { holderIdentity?: string } }>(
          ...["lease", "-n", WEFT_NAMESPACE, "weft-controller"],
        )
      ).spec.holderIdentity ?? "";
    const first = await until("somebody leads", 30, async () => (await holder()) || undefined);
    const { items } = await podsOf(cluster, "controller");
    const leader = items.find((p) => first.startsWith(p.metadata.name));
    // Not asked to end: it cannot give its lease back.
    assert(await signalWeft(cluster.node(leader?.spec.nodeName ?? ""), "controller", "KILL"));
    const second = await until("another one leads", 60, async () => {
      const now = await holder();
      return now !== "" && now !== first ? now : undefined;
    });
    assert.notEqual(second, first);
    const [{ name }] = cluster.nodes as [Node];
    await cluster.kubectl(["taint", "node", name, `${STARTUP_TAINT}=:NoSchedule`]);
    await until("the taint goes", 20, async () =>
      (await taints(cluster, name)).includes(STARTUP_TAINT) ? undefined : true,
    );
  },
};

const NEXT_VERSION = "0.1.0-next";
const NEXT_IMAGE = "weft.network/e2e/weft:2";
/** Longer than both ways take; that the traffic ended last is asserted. It ends when there is this file in the pod. */
const TALK_SECONDS = 240;
const TALK_ENDS = "/enough";

/** Puts the image of a build with another version on every node. */
async function nextImage(cluster: Cluster): Promise<void> {
  const executable = join(CACHE, "weft-next");
  await run([process.execPath, "run", "scripts/build.ts", executable, NEXT_VERSION], { cwd: CHECKOUT });
  const archive = await archiveWeft(executable, NEXT_IMAGE);
  for (const { machine } of cluster.nodes) await importImage(machine, archive);
}

const upgrade: Case = {
  name: "the next version and back: agents are replaced one by one, and no packet is lost",
  async run(cluster) {
    await nextImage(cluster);
    const [first, second] = [cluster.nodes[0], cluster.nodes.at(-1)] as [Node, Node];
    const [near, far] = (await runPods(cluster, pod("near", first.name), pod("far", second.name))) as [
      PodObject,
      PodObject,
    ];
    let over = false;
    const talk = Promise.all([
      hold(cluster, near, far, TALK_SECONDS, TALK_ENDS),
      ...addressesOfPod(far).map((address) => pings(cluster, near, address)),
    ]).finally(() => {
      over = true;
    });
    // Its failure counts when it is waited for.
    talk.catch(() => {});
    for (const [image, version] of [
      [NEXT_IMAGE, NEXT_VERSION],
      [WEFT_IMAGE, "0.1.0"],
    ] as const) {
      await weftInstall(cluster, "--image", image);
      for (const node of cluster.nodes) {
        const status = await weftStatus(node);
        assert.equal(status.version, version, node.name);
        assert(status.ready, `${node.name} is ready`);

        const said = await node.machine.exec(["/opt/cni/bin/weft", "--version"]);
        assert.equal(said.trim(), version, `the plugin on ${node.name}`);
      }
      const fresh = cluster.nodes.map(({ name }) => pod(`fresh-${name}`, name));
      const made = await runPods(cluster, ...fresh);
      await allReachAll(cluster, [near, far, ...made]);
      await deletePods(cluster, ...made.map((p) => p.metadata.name));
    }
    assert(!over, "the traffic ended before the rollouts did");
    await inPod(cluster, "near", `touch ${TALK_ENDS}`);
    await talk;
    await deletePods(cluster, "near", "far");
  },
};

/** A ping every fifth of a second until the talk ends. Throws when one is not answered. */
async function pings(cluster: Cluster, from: PodObject, address: string): Promise<void> {
  const rounds = `$(seq ${TALK_SECONDS / 5})`;
  const script = `for i in ${rounds}; do ping -q -i 0.2 -c 25 -W 2 ${address} || exit 1; test ! -e ${TALK_ENDS} || exit 0; done`;
  const said = await inPod(cluster, from.metadata.name, script, (TALK_SECONDS + 60) * 1000);
  const answers = [...said.matchAll(/([0-9]+) packets transmitted, ([0-9]+) packets received/g)];
  assert(answers.length > 1, said);
  for (const [line, sent, received] of answers)
    assert(sent === "25" && received === "25", `${address}: ${line}`);
}

const wrongServer: Case = {
  name: "a wrong address of the API server is named as the reason, and pods talk on until it is put right",
  async run(cluster) {
    const [first, second] = cluster.nodes as [Node, Node];
    const pods = await runPods(cluster, pod("near", first.name), pod("far", second.name));
    const wrong = `https://${urlHost(first.addresses[0] as string)}:7`;
    const image = ["--image", WEFT_IMAGE, "--image-pull-policy", "Never"];
    const words = ["install", "--apply", "--api-server", wrong, "--timeout", "25s", ...image];
    const { code, stderr } = await weftAttempt(cluster, ...words);
    assert.equal(code, 3, stderr);
    assert.match(stderr, /not ready after 25 s/);
    assert.match(
      stderr,
      new RegExp(`pod weft-controller-.*: Readiness probe failed: weft: ${escaped(wrong)}`),
    );
    // Its agents go on with what they have on disk, and say so.
    await until("an agent says that the server is away", 60, async () => {
      for (const node of cluster.nodes) {
        const { source } = await weftStatus(node);
        if (source.includes(wrong) && /away since/.test(source)) return true;
      }
      return undefined;
    });
    await allReachAll(cluster, pods);
    await weftInstall(cluster);
    await allReachAll(cluster, pods);
    await deletePods(cluster, "near", "far");
  },
};

const missingImage: Case = {
  name: "an image that is missing is named, pods talk on, and the right one puts it right",
  async run(cluster) {
    const [first, second] = cluster.nodes as [Node, Node];
    const pods = await runPods(cluster, pod("near", first.name), pod("far", second.name));
    const image = ["--image", "weft.network/e2e/none:1", "--image-pull-policy", "Never"];
    const { code, stderr } = await weftAttempt(cluster, "install", "--apply", "--timeout", "20s", ...image);
    assert.equal(code, 3, stderr);
    assert.match(stderr, /pod weft-agent-\w+ on node\d: .*ErrImageNeverPull.*weft\.network\/e2e\/none:1/);
    await allReachAll(cluster, pods);
    await weftInstall(cluster);
    await allReachAll(cluster, pods);
    await deletePods(cluster, "near", "far");
  },
};

const escaped = (text: string): string => text.replaceAll(/[[\]./]/g, "\\$&");

const agentHangs: Case = {
  name: "an agent that hangs: its node is tainted as without a network, and not any more when it is back",
  async run(cluster) {
    const node = cluster.nodes[0] as Node;
    const { name } = node;
    assert(await signalWeft(node, "agent", "STOP"));
    try {
      await until("the condition says so", 150, async () =>
        (await network(cluster, name)) === "True WeftIsNotReady" ? true : undefined,
      );
      await until("Kubernetes taints the node", 20, async () =>
        (await taints(cluster, name)).includes("node.kubernetes.io/network-unavailable") ? true : undefined,
      );
    } finally {
      await signalWeft(node, "agent", "CONT");
    }
    await until("the condition is taken back", 90, async () =>
      (await network(cluster, name)) === "False WeftIsReady" ? true : undefined,
    );
    await until("the taint goes", 20, async () =>
      (await taints(cluster, name)).length === 0 ? true : undefined,
    );
  },
};

const again: Case = {
  name: "an install that is done changes nothing; one somewhere else is refused",
  async run(cluster) {
    const image = ["--image", WEFT_IMAGE, "--image-pull-policy", "Never"];
    const second = await weftAttempt(cluster, "install", "--apply", "--json", ...image);
    assert.equal(second.code, 0, second.stderr);
    const { objects } = JSON.parse(second.stdout) as { objects: { object: string; action: string }[] };
    const changed = objects.filter((o) => o.action !== "unchanged");
    assert.deepEqual(changed, []);
    const other = await weftAttempt(cluster, "install", "--apply", "--namespace", "other", ...image);
    assert.equal(other.code, 1);
    assert.match(other.stderr, /installed in namespace weft-system already/);
  },
};

/** Everything of Weft that can be on a node, by the tools that its administrator has. */
async function onNode({ machine }: Node): Promise<string[]> {
  const script = `
    ip -o link | grep -o ': weft[^:@]*'
    for f in -4 -6; do ip $f route show table all proto 87; ip $f rule | grep -w 8700; done
    nft list tables | grep -w weft
    ls -d /opt/cni/bin/*weft* /etc/cni/net.d/*weft* /run/weft /var/lib/weft 2> /dev/null
    find /opt/cni/bin -lname '*weft*'
    true`;
  const said = await machine.exec(["sh", "-c", script]);
  return said.split("\n").filter((line) => line !== "");
}

const leaves: Case = {
  name: "uninstall: refused while pods need it; then nothing is left on any node, and an install works again",
  async run(cluster) {
    const [{ name }] = cluster.nodes as [Node];
    await cluster.kubectl(["delete", "pods", "--all", "--wait"], { timeout: 120_000 });
    await runPods(cluster, pod("needs", name));
    const refused = await weftAttempt(cluster, "uninstall", "--apply");
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /pods are on Weft's network: default\/needs/);
    await deletePods(cluster, "needs");
    for (const node of cluster.nodes) assert((await onNode(node)).length > 5, `${node.name} has Weft`);

    const dry = await weftAttempt(cluster, "uninstall");
    assert.equal(dry.code, 0, dry.stderr);
    for (const node of cluster.nodes) assert((await weftStatus(node)).ready);

    const done = await weftAttempt(cluster, "uninstall", "--apply", "--json");
    assert.equal(done.code, 0, done.stderr);
    for (const node of cluster.nodes) {
      assert.deepEqual(await onNode(node), [], `left on ${node.name}`);
      assert.equal(await network(cluster, node.name), "absent");
    }
    await until("the namespace goes", 60, async () => {
      const { code } = await cluster.attempt(["get", "namespace", WEFT_NAMESPACE]);
      return code === 0 ? undefined : true;
    });
    const left = await cluster.kubectl(["get", "clusterrole,clusterrolebinding", "-o", "name"]);
    assert.doesNotMatch(left, /weft/);
    const nothing = await weftAttempt(cluster, "uninstall", "--apply");
    assert.equal(nothing.code, 0);

    await weftInstall(cluster);
    await podsReachPods.run(cluster);
  },
};

export const installSuite: Suite = {
  title: "install",
  cluster: () => ({
    name: "inst",
    families: "dual",
    racks: [1, 2],
    network: weftNetwork({ backend: "auto" }),
  }),
  cases: [bootstrap, again, takeover, upgrade, wrongServer, missingImage, agentHangs, leaves],
};
