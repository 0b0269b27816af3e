/**
 * The capabilities that an install gives the agent (apps/install/capabilities.ts): with just these, and /proc/sys for
 * reading only as in a container, it does all of its work; without any one of them something fails.
 */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, closeSync, copyFileSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { spawnIn } from "@weft/kernel/netns";
import { NODE, TestNode } from "./testing/node.ts";
import { eventually } from "./testing/wait.ts";

setDefaultTimeout(240_000);

/** As in apps/install/capabilities.ts, and what becomes of an agent without. */
const FAULTS = {
  // The events of nftables are the first that it wants.
  net_admin: /bind: EPERM/,
  sys_admin: /setns: EPERM/,
  net_broadcast: /setsockopt level 270 option 8: EPERM/,
} as const;
const NEEDED = Object.keys(FAULTS);

let node: TestNode;
/** A file with a name: without capabilities nobody may open what another process has open. */
let executable: string;
beforeAll(() => {
  node = new TestNode();
  executable = `${node.root}/weft`;
  copyFileSync(node.executable, executable);
  chmodSync(executable, 0o755);
  node.writeNode("node2", ["172.31.0.13"], ["10.240.3.0/24"]);
});
afterAll(() => node.close());

/** Starts the agent with just these capabilities, as a container would: /proc/sys once for reading, once for writing. */
async function startWith(capabilities: readonly string[], sysctls: string[]): Promise<void> {
  const log = openSync(`${node.root}/agent.log`, "w");
  const writable = `${node.root}/proc-sys-net`;
  mkdirSync(`${writable}/net`, { recursive: true });
  // A mount namespace first: the remount must touch nobody else. Then the capabilities, for good.
  const script = `mount --bind /proc/sys/net ${writable}/net \
    && mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"`;
  const kept = capabilities.map((c) => `+${c}`).join(",");
  const drop = ["setpriv", `--bounding-set=-all${kept === "" ? "" : `,${kept}`}`, "--inh-caps=-all"];
  const child = spawnIn(
    node.node.self,
    [
      ...[
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--propagation=slave",
        "sh",
        "-c",
        script,
        "sh",
        ...drop,
      ],
      ...["setpriv", "--pdeathsig", "KILL", executable],
      ...[
        "agent",
        "--node",
        NODE,
        "--root",
        node.root,
        ...sysctls.map((s) => s.replace("WRITABLE", writable)),
      ],
    ],
    { env: { PATH: process.env["PATH"] ?? "" }, stdout: log, stderr: log },
  );
  closeSync(log);
  node.agent = child;
}

const SYSCTLS = ["--sysctls", "WRITABLE"];

/** What is wrong with an agent's work: the whole of it is tried. Undefined: nothing. */
async function fault(capabilities: readonly string[], sysctls = SYSCTLS): Promise<string | undefined> {
  await startWith(capabilities, sysctls);
  try {
    const child = node.agent as Bun.Subprocess;
    const state = await eventually("the agent is ready or has ended", async () => {
      if (child.exitCode !== null || child.signalCode !== null) return "ended";
      const status = await node.status().catch(() => undefined);
      if (status?.ready !== true) return undefined;
      return status.plan.some((t) => t.errors > 0)
        ? "errors"
        : status.plan.every((t) => t.pending === 0) && "ready";
    }).catch(() => "not ready");
    if (state !== "ready") return `${state}: ${readFileSync(`${node.root}/agent.log`, "utf8").slice(-600)}`;
    const pod = await node.add().catch((error: unknown) => `ADD: ${error}`);
    if (typeof pod === "string") return pod;
    pod.sh("ping -c1 -W20 172.30.0.11");
    // What somebody changes inside of a pod is heard of at once, not at the next full comparison.
    pod.sh("ip route del default");
    const heard = await eventually(
      "the pod's route is back",
      () => pod.sh("ip -4 route").includes("default"),
      // Before everything in pods is compared, which is once a minute.
      30_000,
    ).then(
      () => undefined,
      () => "events from inside of pods are not heard",
    );
    await node.del(pod);
    node.removePod(pod);
    return heard;
  } finally {
    node.agent?.kill("SIGKILL");
    await node.agent?.exited;
  }
}

test("these are enough, with /proc/sys for reading only", async () => {
  expect(await fault(NEEDED)).toBeUndefined();
});

for (const [name, reason] of Object.entries(FAULTS)) {
  test(`without ${name} something fails`, async () => {
    expect(await fault(NEEDED.filter((c) => c !== name))).toMatch(reason);
  });
}

test("without the mount of sysctls for writing something fails", async () => {
  // What an agent before has set stands already; it must be set anew.
  node.node.sh("sysctl -q -w net.ipv4.ip_forward=0");
  expect(await fault(NEEDED, [])).toMatch(/ip_forward.*EROFS/);
});
