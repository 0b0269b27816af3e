/** A node with an agent and pods, cleaned: looked at with ip and nft. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { spawnSyncIn } from "@weft/kernel/netns";
import type { CleanupReport } from "./cleanup.ts";
import { TestNode } from "./testing/node.ts";

setDefaultTimeout(240_000);

let node: TestNode;
beforeAll(async () => {
  node = new TestNode();
  node.writeNode("node2", ["172.31.0.13"], ["10.240.3.0/24"]);
  await node.start();
});
afterAll(() => node.close());

function cleanup(...words: string[]): { code: number; out: string; report: CleanupReport | undefined } {
  const argv = [node.executable, "agent", "cleanup", "--root", node.root, "--json", ...words];
  const { exitCode, stdout, stderr } = spawnSyncIn(node.node.self, argv);
  const text = stdout.toString();
  return {
    code: exitCode,
    out: text + stderr.toString(),
    report: text === "" ? undefined : (JSON.parse(text) as CleanupReport),
  };
}

/** All of Weft that ip and nft know of. */
function inKernel(): string {
  return node.node.run(
    "sh",
    "-c",
    "ip -o link | grep ': weft'; ip -4 route show table all proto 87; ip -6 route show table all proto 87; ip rule | grep 8700; ip -6 rule | grep 8700; nft list tables; true",
  );
}

test("refused while the agent runs, and while pods are attached", async () => {
  const running = cleanup();
  expect(running.code).toBe(1);
  expect(running.out).toContain("the agent runs on this node");
  const pod = await node.add();
  await node.stop();
  const inUse = cleanup();
  expect(inUse.code).toBe(1);
  expect(inUse.out).toContain(pod.hostLink);
  expect(inUse.out).toContain("--force");
  expect(inKernel()).toContain(pod.hostLink);
});

test("forced: links, rules, routes, tables, files go; what is not Weft's stays; a second time finds nothing", () => {
  node.node.sh("ip link add wefty type veth peer name foreign");
  node.node.sh("ip route add 10.99.0.0/16 via 172.30.0.1");
  node.node.run("nft", "add table inet wefting");
  const plugins = `${node.root}/opt/cni/bin`;
  mkdirSync(plugins, { recursive: true });
  for (const name of ["weft", "weft-loopback", ".weft.new", "bridge", "weft-other"])
    writeFileSync(`${plugins}/${name}`, "");
  symlinkSync("weft-loopback", `${plugins}/loopback`);
  writeFileSync(`${node.root}/etc/cni/net.d/05-other.conflist`, "{}");
  writeFileSync(`${node.root}/etc/cni/net.d/10-weft.conflist.7.tmp`, "{");
  const before = inKernel();
  for (const what of ["weft-vxlan", "10.240.1.0/24", "8700", "table inet weft\n", "table arp weft"])
    expect(before).toContain(what);

  const { code, report } = cleanup("--force");
  expect(code).toBe(0);
  expect(report?.left).toEqual([]);
  expect(report?.removed.length).toBeGreaterThan(10);

  expect(
    inKernel()
      .replaceAll(/^\d+: wefty@.*$/gm, "")
      .trim(),
  ).toBe("table inet wefting");
  expect(node.node.sh("ip route")).toContain("10.99.0.0/16");
  expect(readdirSync(plugins).sort()).toEqual(["bridge", "weft-other"]);
  expect(readdirSync(`${node.root}/etc/cni/net.d`)).toEqual(["05-other.conflist"]);
  for (const gone of ["run/weft", "var/lib/weft"]) expect(existsSync(`${node.root}/${gone}`)).toBe(false);
  expect(cleanup().report).toEqual({ removed: [], left: [] });
});

test("what cannot be removed is named with the reason, and the exit code says no", () => {
  const plugins = `${node.root}/opt/cni/bin`;
  writeFileSync(`${plugins}/weft`, "");
  node.node.run("chattr", "+i", plugins);
  try {
    const { code, report } = cleanup();
    expect(code).toBe(1);
    expect(report?.left).toHaveLength(1);
    expect(report?.left[0]).toMatch(/^file \/opt\/cni\/bin\/weft: .*(EPERM|not permitted)/);
  } finally {
    node.node.run("chattr", "-i", plugins);
  }
  expect(cleanup().report?.removed).toEqual(["file /opt/cni/bin/weft"]);
});

test("what was removed is told, also where the name of what is left begins with its own", () => {
  const plugins = `${node.root}/opt/cni/bin`;
  for (const name of ["weft", "weft-loopback"]) writeFileSync(`${plugins}/${name}`, "");
  node.node.run("chattr", "+i", `${plugins}/weft-loopback`);
  try {
    const { report } = cleanup();
    expect(report?.removed).toEqual(["file /opt/cni/bin/weft"]);
    expect(report?.left).toHaveLength(1);
  } finally {
    node.node.run("chattr", "-i", `${plugins}/weft-loopback`);
  }
  expect(cleanup().report?.removed).toEqual(["file /opt/cni/bin/weft-loopback"]);
});

test("the agent makes it all again", async () => {
  await node.start();
  await node.settled();
  expect(inKernel()).toContain("table inet weft\n");
});
