/** Pods from manifests: they come, run, speak, and go without a trace. */
import { beforeAll, expect, test } from "bun:test";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Lab } from "./harness/lab.ts";
import { newDirectory, until, useWeft, weft } from "./harness/weft.ts";

useWeft();
let lab: Lab;
let manifests: string;

/** Writes a manifest; names and specs as YAML, which JSON is. */
function apply(name: string, spec: object): void {
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name }, spec };
  writeFileSync(join(manifests, `${name}.yaml`), JSON.stringify(pod));
}
const remove = (name: string): void => rmSync(join(manifests, `${name}.yaml`));
const untilGone = (name: string): Promise<boolean> =>
  until(`${name} is gone`, 60_000, async () => (await lab.pod(name)) === undefined);
const echo = (name = "echo"): object => ({ name, image: "weft/echo" });
/** Asks the echo on port 7000 of an address, which answers one line. */
const ASK = (address: string): string => `exec 3<>/dev/tcp/${address}/7000 && head -n 1 <&3`;

/** Everything about pods that a node holds, in its kernel, its ledger and its CNI cache. */
async function holdings(node: string): Promise<string> {
  const { name } = lab;
  const kernel = await lab.sh(
    node,
    "ip -br link; ip -br address; ip route show table all; ip -6 route show table all; ip neighbour show nud permanent; nft -s list ruleset",
  );
  const { blocks, workloads, plan } = await lab.agent(node);
  const rows = plan.flatMap((t) => t.items.map((i) => `${t.kind} ${i.key}`));
  const root = `/run/weft-lab/${name}/nodes/${node}`;
  const cache = [...new Bun.Glob("var/lib/cni/**").scanSync({ cwd: root, dot: true })];
  const namespaces = [...new Bun.Glob(`weft-${name}-pod-*`).scanSync({ cwd: "/run/netns" })];
  return [kernel, JSON.stringify({ blocks, workloads, rows, cache, namespaces }, null, 1)]
    .join("\n")
    .replaceAll(/ expires \S+/g, "")
    .replaceAll(/counter packets \d+ bytes \d+/g, "");
}

/** The same twice: nothing is on its way any more. */
async function settledHoldings(node: string): Promise<string> {
  let last = "";
  return until("the node is at rest", 60_000, async () => {
    const now = await holdings(node);
    const isSame = now === last;
    last = now;
    return isSame && now;
  });
}

beforeAll(async () => {
  manifests = newDirectory("manifests");
  lab = new Lab("--nodes", "2", "--racks", "2", "--manifests", manifests);
  apply("first", { nodeName: "node1", containers: [echo()] });
  await lab.upOk();
}, 240_000);

test("a manifest becomes a pod, and leaves nothing when it goes", async () => {
  const before = await settledHoldings("node2");
  apply("second", { nodeName: "node2", containers: [echo()] });
  const second = await lab.untilReady("second");
  expect(second.node).toBe("node2");
  expect(second.podIPs).toHaveLength(2);
  const { code, report } = await lab.check();
  expect(code).toBe(0);
  expect(report.endpoints.map((e) => e.name)).toContain("default/second");
  const { podIPs } = await lab.untilReady("first");
  for (const [i, address] of second.podIPs.entries()) {
    expect(JSON.parse(await lab.sh("first", ASK(address)))).toMatchObject({
      name: "second",
      node: "node2",
      client: podIPs[i],
    });
  }
  remove("second");
  await untilGone("second");
  await until("the deletion is applied", 60_000, async () => (await holdings("node2")) === before);
  expect(existsSync(`/run/netns/weft-${lab.name}-pod-default-second`)).toBe(false);
}, 120_000);

test("an unknown image is said clearly", async () => {
  apply("unknown", { containers: [{ name: "web", image: "nginx:1.27" }] });
  await until("the error is there", 60_000, async () => (await lab.pod("unknown"))?.error);
  const status = await weft("lab", "status", "--name", lab.name);
  expect(status.code).toBe(1);
  expect(status.stdout).toContain(
    '! pod default/unknown: container web: image "nginx:1.27" is not built in, and the lab pulls no images',
  );
  remove("unknown");
  await untilGone("unknown");
  expect((await weft("lab", "status", "--name", lab.name)).code).toBe(0);
}, 120_000);

test("fields without effect are named, and so is a manifest that cannot be read", async () => {
  apply("rich", {
    containers: [{ ...echo(), resources: { limits: { cpu: "1" } } }],
    dnsPolicy: "Default",
    hostNetwrok: true,
  });
  await lab.untilReady("rich");
  const status = await weft("lab", "status", "--name", lab.name);
  expect(status.code).toBe(0);
  const warnings = status.stdout.split("\n").filter((line) => line.startsWith("! "));
  const said = warnings.join("\n");
  expect(said).toContain("spec.containers[0].resources");
  expect(said).toContain("spec.dnsPolicy");
  expect(said).toContain("spec.hostNetwrok");
  remove("rich");
  await untilGone("rich");
  writeFileSync(join(manifests, "broken.yaml"), "kind: [");
  await until("the fault is there", 60_000, async () => (await lab.condition()).sourceErrors.length > 0);
  expect((await weft("lab", "status", "--name", lab.name)).stdout).toContain("broken.yaml");
  remove("broken");
  await until("the fault is gone", 60_000, async () => (await lab.condition()).sourceErrors.length === 0);
}, 120_000);

test("two containers share localhost and a log each", async () => {
  const asks = `until ${ASK("localhost")}; do sleep 0.1; done; exec sleep infinity`;
  apply("pair", {
    containers: [echo(), { name: "ask", image: "host", command: ["bash", "-c", asks] }],
  });
  await lab.untilReady("pair");
  const logs = (): Promise<string> =>
    weft("lab", "logs", "--name", lab.name, "pair", "-c", "ask").then((d) => d.stdout);
  const answer = await until("the answer", 60_000, async () => /^\{.*\}$/m.exec(await logs())?.[0]);
  expect(JSON.parse(answer)).toMatchObject({ name: "pair" });
  expect(["127.0.0.1", "::1"]).toContain((JSON.parse(answer) as { client: string }).client);
  const all = await weft("lab", "logs", "--name", lab.name, "default/pair");
  expect(all.stdout).toContain("[ask] {");
  expect(all.stdout).toContain("[echo] ");
  remove("pair");
  await untilGone("pair");
}, 120_000);

test("a pod of the host network has its node's addresses", async () => {
  apply("host", { nodeName: "node2", hostNetwork: true, containers: [echo()] });
  const host = await lab.untilReady("host");
  expect(host.podIPs).toEqual(lab.topology.nodes[1]!.addresses);
  expect(await lab.sh("host", "readlink /proc/self/ns/net")).toBe(
    await lab.sh("node2", "readlink /proc/self/ns/net"),
  );
  for (const address of host.podIPs) {
    expect(JSON.parse(await lab.sh("first", ASK(address)))).toMatchObject({ name: "host", node: "node2" });
  }
  expect((await lab.check()).code).toBe(0);
  remove("host");
  await untilGone("host");
}, 120_000);

test("commands run in a pod, with their own exit codes", async () => {
  const { podIPs } = await lab.untilReady("first");
  for (const ip of podIPs) expect(await lab.sh("first", "ip address show eth0")).toContain(`${ip}/`);
  expect((await lab.exec("default/first", "exit 7")).code).toBe(7);
  expect((await lab.exec("first", "kill -TERM $$")).code).toBe(143);
  const missing = await weft("lab", "exec", "--name", lab.name, "first", "--", "no-such-command");
  expect(missing.code).toBe(127);
  const nobody = await lab.exec("nobody", "true");
  expect(nobody.code).toBe(1);
  expect(nobody.stderr).toContain('the lab has no node or pod "nobody"');
});

test("a container that ends is started again", async () => {
  const { containers } = await lab.untilReady("first");
  process.kill(containers[0]!.pid!, "SIGKILL");
  const again = await until("it is back", 60_000, async () => {
    const pod = await lab.pod("first");
    return pod?.ready === true && pod.restarts === 1 && pod;
  });
  expect(again.containers[0]).toMatchObject({ lastExit: "signal SIGKILL" });
  expect((await lab.check()).code).toBe(0);
}, 120_000);
