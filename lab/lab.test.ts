import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { isNotFound } from "@weft/base";
import { listNamed } from "@weft/kernel/netns";
import { tearDown } from "./down.ts";
import {
  type LabStatus,
  labDown,
  labExec,
  labLogs,
  labNodes,
  labPaths,
  labPlan,
  labStatus,
  labUp,
  listLabs,
  parseLabOptions,
  readCondition,
} from "./index.ts";
import { identify, isAlive } from "./processes.ts";
import { LAB_DIRECTORY, readProcesses, readRecord, writeRecord } from "./state.ts";
import { REFERENCE_PLUGINS, writeStandIn } from "./testing/stand-in.ts";

const PREFIX = "t-ll";
const lab = `${PREFIX}${process.pid}`;
const scratch = mkdtempSync("/tmp/weft-lab-test-");
const manifests = mkdtempSync(`${scratch}/manifests-`);
// Without IPv6, whose duplicate address detection the reference plugins wait for.
const options = parseLabOptions({ name: lab, nodes: 2, pods: "ipv4", manifests, hostile: "forward-drop" });
/** Of a run that is over: another checkout's may go on beside this one. */
const isStale = (name: string): boolean => {
  const pid = new RegExp(`^${PREFIX}(\\d+)`).exec(name)?.[1];
  return pid !== undefined && !existsSync(`/proc/${pid}`);
};
let printed = "";
const io = {
  executable: "",
  write(text: string) {
    printed += text;
  },
};

const pod = (name: string, spec: object): void =>
  writeFileSync(
    `${manifests}/${name}.yaml`,
    JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name }, spec }),
  );
const one = (image: string, ...command: string[]): object => ({
  containers: [{ name: "main", image, ...(command.length === 0 ? {} : { command }) }],
});

async function status(): Promise<LabStatus> {
  const condition = await readCondition(lab);
  if (condition.state !== "up") throw new Error(condition.message);
  return condition.status;
}
async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  for (let i = 0; i < 2000; i++) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    await Bun.sleep(30);
  }
  throw new Error(`never: ${what}; ${JSON.stringify(await readCondition(lab))}`);
}
const podStatus = async (name: string) => (await status()).pods.find((p) => p.name === name);
const untilReady = (name: string) =>
  until(`${name} ready`, async () => {
    const p = await podStatus(name);
    return p?.ready === true && p;
  });
const said = (): string => {
  const text = printed;
  printed = "";
  return text;
};

// Debian's containernetworking-plugins give the pods addresses here.
const skip = !existsSync(`${REFERENCE_PLUGINS}/ptp`);
if (skip) console.warn(`lab: skipped, there are no reference plugins in ${REFERENCE_PLUGINS}`);

beforeAll(async () => {
  for (const stale of listLabs().filter(isStale)) await tearDown(stale);
  for (const file of existsSync(LAB_DIRECTORY) ? readdirSync(LAB_DIRECTORY) : []) {
    if (isStale(file)) rmSync(`${LAB_DIRECTORY}/${file}`, { recursive: true, force: true });
  }
  io.executable = writeStandIn(scratch);
});
afterAll(async () => {
  await tearDown(lab);
  rmSync(scratch, { recursive: true, force: true });
});

describe.skipIf(skip)("a lab", () => {
  test("comes up with its agents and pods", async () => {
    pod("echo", { ...one("weft/echo"), nodeName: "node1" });
    pod("sleeper", { ...one("weft/pause"), nodeName: "node2" });
    pod("host", { ...one("weft/pause"), hostNetwork: true, nodeName: "node1" });
    pod("bad", one("nginx:1.27"));
    // There is no use in waiting for it.
    expect(await labUp(options, io)).toBe(1);
    const text = said();
    expect(text).toContain('  pod default/bad: container main: image "nginx:1.27" is not built in');
    rmSync(`${manifests}/bad.yaml`);
    await until("bad is gone", async () => (await podStatus("bad")) === undefined);

    expect(await labUp(options, io)).toBe(0);
    expect(said()).toContain("is up already");
    await expect(labUp({ ...options, nodes: 3 }, io)).rejects.toThrow("nodes is 2, not 3");

    const echo = await untilReady("echo");
    expect(echo.podIPs).toHaveLength(1);
    expect((await podStatus("host"))?.podIPs).toEqual(["198.18.1.11", "fd57:eff7:0:1::11"]);
    const plan = await labPlan(lab);
    expect(plan.nodes).toEqual(labNodes(lab));
    expect(plan.pods.map((p) => [p.name, p.node, p.interface])).toEqual([
      ["echo", "node1", "eth0"],
      ["host", "node1", undefined],
      ["sleeper", "node2", "eth0"],
    ] as never);
    expect(plan.pods[1]?.namespacePath).toBe(plan.nodes[0]!.namespacePath);
    expect(await labStatus(lab, io)).toBe(0);
    expect(said()).toContain("hostile forward-drop");
  }, 120_000);

  test("commands run in its networks", async () => {
    const { podIPs } = await untilReady("echo");
    const ask = `exec 3<>/dev/tcp/${podIPs[0]}/7000 && read -r line <&3 && [[ $line == *'"name":"echo","node":"node1"'* ]]`;
    expect(await labExec(lab, "node1", ["bash", "-c", ask], io)).toBe(0);
    expect(await labExec(lab, "default/echo", ["bash", "-c", "exit 7"], io)).toBe(7);
    expect(await labExec(lab, "spine", ["bash", "-c", "kill -TERM $$"], io)).toBe(143);
    expect(await labExec(lab, "outside", ["no-such-command"], io)).toBe(127);
    expect(said()).toBe("no-such-command: command not found\n");
    const wrong = await labExec(lab, "node9", ["true"], io).catch((e: unknown) => e);
    expect(isNotFound(wrong)).toBe(true);
    expect((wrong as { hint: string }).hint).toContain(
      "outside, spine, rack1, rack2, node1, node2; and pods: default/echo",
    );
    expect(await labLogs(lab, "echo", io)).toBe(0);
    expect(said()).toBe("echo echo: HTTP 8080, TCP 7000, UDP 7000\n");
    await expect(labLogs(lab, "echo", io, { container: "x" })).rejects.toThrow('no log of a container "x"');
  });

  test("what is killed comes back", async () => {
    const [before] = (await status()).nodes;
    process.kill(before!.pid!, "SIGKILL");
    const after = await until("the agent is back", async () => {
      const [node] = (await status()).nodes;
      return node!.ready && node!.pid !== before!.pid && node;
    });
    expect(after.restarts).toBe(1);

    const sleeper = await untilReady("sleeper");
    process.kill(sleeper.containers[0]!.pid!, "SIGKILL");
    const again = await until("the container is back", async () => {
      const p = await podStatus("sleeper");
      return p?.ready === true && p.restarts === 1 && p;
    });
    expect(again.containers[0]).toMatchObject({ state: "running", restarts: 1, lastExit: "signal SIGKILL" });
    expect(again.podIPs).toEqual(sleeper.podIPs);
  });

  test("pods follow their manifests", async () => {
    pod("two", {
      containers: [
        { name: "a", image: "host", command: ["bash", "-c", "echo $POD_NAME $NODE_NAME $POD_IP; sleep 100"] },
        { name: "b", image: "host", command: ["bash", "-c", "exit 3"] },
      ],
    });
    const two = await until("b is seen to fail", async () => {
      const p = await podStatus("two");
      return p?.error?.includes("container b: ended with exit code 3") && p.restarts > 0 && p;
    });
    expect(two).toMatchObject({ phase: "Running", ready: false, node: "node2" });
    const log = await until("a is heard", async () => {
      said();
      return (await labLogs(lab, "two", io)) === 0 && said();
    });
    expect(log).toBe(`[a] two node2 ${two.podIPs[0]}\n`);

    const first = await untilReady("echo");
    pod("echo", { ...one("weft/pause"), nodeName: "node2" });
    const moved = await until("echo is made anew", async () => {
      const p = await podStatus("echo");
      return p?.node === "node2" && p.ready && p;
    });
    expect(moved.podIPs).not.toEqual(first.podIPs);

    rmSync(`${manifests}/two.yaml`);
    await until("two is gone", async () => (await podStatus("two")) === undefined);
    expect(listNamed(`weft-${lab}-pod-default-two`)).toEqual([]);
    const calls = readFileSync(`${scratch}/calls`, "utf8");
    expect(calls).toMatch(
      /^DEL [0-9a-f]{64} \S+pod-default-two IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=two;K8S_POD_INFRA_CONTAINER_ID=[0-9a-f]{64};K8S_POD_UID=\S+$/m,
    );
    writeFileSync(`${manifests}/broken.yaml`, "kind: [");
    await until("the fault is told", async () => (await status()).sourceErrors[0]?.includes("broken.yaml"));
    rmSync(`${manifests}/broken.yaml`);
  }, 120_000);

  test("a failed ADD is told, undone, and tried again", async () => {
    writeFileSync(`${scratch}/fail-add`, "");
    pod("late", one("weft/pause"));
    await until("the error", async () => (await podStatus("late"))?.error?.includes("not now"));
    rmSync(`${scratch}/fail-add`);
    await untilReady("late");
    expect((await podStatus("late"))?.error).toBeUndefined();
  }, 120_000);

  test("a killed supervisor is replaced, with what it left", async () => {
    const before = await status();
    const processes = readProcesses(lab);
    expect(
      processes
        .map((p) => p.kind)
        .sort()
        .join(" "),
    ).toMatch(/^agent agent (container )+controller server supervisor$/);
    process.kill(before.supervisor.pid, "SIGKILL");
    await until("it is gone", () => identify(before.supervisor.pid) === undefined);
    expect((await readCondition(lab)).state).toBe("unsupervised");
    expect(await labStatus(lab, io)).toBe(3);
    said();
    // A pod that nobody asks for any more is taken apart too.
    rmSync(`${manifests}/sleeper.yaml`);
    expect(await labUp(options, io)).toBe(0);
    expect(processes.filter(isAlive)).toEqual([]);
    const after = await status();
    expect(after.pods.map((p) => p.name)).toEqual(["echo", "host", "late"]);
    expect(listNamed(`weft-${lab}-pod-`)).toEqual([
      `weft-${lab}-pod-default-echo`,
      `weft-${lab}-pod-default-late`,
    ]);
    for (const node of labNodes(lab)) {
      const cached = readdirSync(`${node.root}/var/lib/cni/results`);
      const pods = after.pods.filter((p) => p.node === node.name && !p.hostNetwork);
      expect(cached).toHaveLength(2 * pods.length);
    }
  }, 120_000);

  test("down leaves nothing, and is done when there is nothing", async () => {
    const processes = readProcesses(lab);
    said();
    expect(await labDown(lab, io)).toBe(0);
    expect(said()).toContain("removed: 8 namespaces");
    expect(processes.filter(isAlive)).toEqual([]);
    expect(listNamed(`weft-${lab}-`)).toEqual([]);
    expect(existsSync(labPaths(lab).base)).toBe(false);
    expect(await labDown(lab, io)).toBe(0);
    expect(said()).toContain("nothing to remove");
    expect((await readCondition(lab)).state).toBe("absent");
    await expect(labPlan(lab)).rejects.toThrow("there is no lab");
  });

  test("Ctrl-C in the middle removes what was made", async () => {
    for (const stopAt of ["underlay", "agents", "pods"]) {
      const stop = new AbortController();
      const write = (text: string): void => {
        printed += text;
        if (text.startsWith(stopAt)) stop.abort(new Error("interrupted"));
      };
      await expect(labUp(options, { ...io, write, signal: stop.signal })).rejects.toThrow("interrupted");
      expect(said()).toContain("removed what was made so far");
      expect(listNamed(`weft-${lab}-`)).toEqual([]);
      expect(existsSync(labPaths(lab).base)).toBe(false);
    }
  }, 120_000);

  test("what is left of another boot is known and made anew", async () => {
    rmSync(manifests, { recursive: true });
    await expect(labUp(options, io)).rejects.toThrow("is not a directory");
    const samples = parseLabOptions({ name: lab, nodes: 1, underlay: "ipv4" });
    expect(await labUp(samples, io)).toBe(0);
    const { pods } = await status();
    expect(pods).toHaveLength(8);
    for (const p of pods) {
      expect(p.podIPs.map((ip) => ip.includes(":"))).toEqual(p.hostNetwork ? [false] : [false, true]);
    }
    writeRecord(lab, { ...readRecord(lab)!, bootId: "another" });
    expect((await readCondition(lab)).state).toBe("before-boot");
    await expect(labPlan(lab)).rejects.toThrow("before the machine was started");
    // Its processes are found by their namespaces, since their recorded start times mean nothing now; the
    // supervisor, which no real boot would have left, is ended here.
    for (const p of readProcesses(lab)) if (p.kind === "supervisor") process.kill(p.pid, "SIGKILL");
    said();
    expect(await labUp({ ...samples, nodes: 2 }, io)).toBe(0);
    expect(said()).toContain("removed what an earlier run left");
    expect(await labDown(lab, io)).toBe(0);
  }, 120_000);
});
