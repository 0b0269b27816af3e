/** The plugin's executable with a running agent, against the specification, and in chains with other plugins. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { CNI_VERSIONS, parseNetworkConfigurationList } from "@weft/cni";
import { pluginConformance } from "@weft/cni/conformance";
import { type AttachmentSpec, addOrDelete, createRuntime, type Runtime } from "@weft/cni/runtime";
import { Baseline } from "./testing/baseline.ts";
import { TestNode, type TestPod } from "./testing/node.ts";
import { ownPart, viewOf } from "./testing/view.ts";

setDefaultTimeout(240_000);
const REFERENCE = "/usr/lib/cni";

const node = new TestNode();
beforeAll(() => node.start());
afterAll(() => node.close());

function namespace(): { path: string; remove(): void } {
  const pod = node.pod();
  return { path: pod.path, remove: () => node.removePod(pod) };
}

const { socket, queue } = node.options;
pluginConformance("weft", {
  argv: [node.executable],
  versions: CNI_VERSIONS,
  interfaceName: "eth0",
  configuration: { name: "weft", type: "weft", socket, queue },
  createNamespace: namespace,
  spawn: node.spawn,
  async verifyAdded(path, result) {
    const own = result.ips.map((ip) => ip.address.split("/")[0]);
    expect(own).toEqual([expect.stringMatching(/^10\.240\.1\./), expect.stringMatching(/^fd00:240:1::/)]);
    const { workloads } = await node.status();
    expect(workloads.map((w) => [w.namespacePath, w.addresses.join()])).toEqual([[path, own.join()]]);
    expect(await node.drift()).toEqual([]);
  },
  async verifyDeleted() {
    expect((await node.status()).workloads).toEqual([]);
    expect(ownPart(viewOf(node.node)).filter((line) => / (dev|ifname)=weft[^-]/.test(line))).toEqual([]);
  },
});

test("what the plugin says of itself without a command", async () => {
  const environment = { CNI_COMMAND: "", PATH: process.env["PATH"] ?? "" };
  const child = node.spawn([node.executable], { environment, stdin: new Uint8Array() });
  expect((await child.exited).code).toBe(0);
  await child.stderr.ended;
  expect(child.stderr.text()).toContain("CNI protocol versions supported: 0.1.0, 0.2.0");
});

const chained = existsSync(`${REFERENCE}/tuning`) ? describe : describe.skip;
chained("in a list with the reference plugins", () => {
  let runtime: Runtime;
  let baseline: Baseline;
  beforeAll(async () => {
    runtime = createRuntime({
      path: [`${node.root}/opt/cni/bin`, REFERENCE],
      cacheDirectory: `${node.root}/cache`,
      spawn: node.spawn,
    });
    node.node.sh(`mkdir -p ${node.root}/opt/cni/bin`);
    node.node.sh(`ln -s ${node.executable} ${node.root}/opt/cni/bin/weft`);
    baseline = await Baseline.of(node);
  });

  const list = (...plugins: object[]) =>
    parseNetworkConfigurationList({ cniVersion: "1.0.0", name: "weft", plugins });
  const weft = { type: "weft", socket, queue };
  const attachmentOf = (pod: TestPod): AttachmentSpec => ({
    containerId: pod.containerId,
    interfaceName: "eth0",
    networkNamespace: pod.path,
  });

  /** ADD, CHECK, a look, DEL, and nothing is left. */
  async function run(
    plugins: readonly object[],
    look: (pod: TestPod, addresses: readonly string[]) => void,
    more: Partial<AttachmentSpec> = {},
  ): Promise<void> {
    const pod = node.pod();
    const attachment = { ...attachmentOf(pod), ...more };
    const result = await addOrDelete(runtime, list(...plugins), attachment);
    await runtime.check(list(...plugins), attachment);
    look(
      pod,
      result.ips.map((ip) => ip.address.split("/")[0] as string).filter((ip) => /^(10\.|fd)/.test(ip)),
    );
    await runtime.del(list(...plugins), attachment);
    expect(pod.self.link("eth0")).toBeUndefined();
    node.removePod(pod);
    await baseline.expectSoon();
  }
  const reaches = (pod: TestPod): string => pod.sh("ping -c1 -W20 172.30.0.1");

  test("loopback before: the addresses of both are in the result", async () => {
    node.outside.sh("ip route replace 10.240.1.0/24 via 172.30.0.11");
    const pod = node.pod();
    const attachment = { ...attachmentOf(pod), interfaceName: "lo" };
    const loopback = parseNetworkConfigurationList({
      cniVersion: "1.0.0",
      name: "lo",
      plugins: [{ type: "loopback" }],
    });
    const { interfaces, ips } = await runtime.add(loopback, attachment);
    const { error, result } = await node.call("ADD", pod, {
      configuration: {
        cniVersion: "1.0.0",
        prevResult: {
          cniVersion: "1.0.0",
          interfaces,
          ips: ips.map((ip) => ({ address: ip.address, interface: 0 })),
        },
      },
    });
    expect(error).toBeUndefined();
    expect(result.interfaces?.map((i) => i.name)).toEqual([
      "lo",
      expect.stringMatching(/^weft[0-9a-f]{11}$/),
      "eth0",
    ]);
    const owner = (address: string): string | undefined =>
      result.interfaces?.[result.ips?.find((ip) => ip.address.startsWith(address))?.interface ?? -1]?.name;
    expect([owner("127."), owner("10.240."), owner("fd00:")]).toEqual(["lo", "eth0", "eth0"]);
    reaches(pod);
    await node.del(pod);
    await runtime.del(loopback, attachment);
    node.removePod(pod);
    await baseline.expectSoon();
  });

  test("tuning after: sysctls of the interface", async () => {
    const tuning = { type: "tuning", sysctl: { "net.ipv4.conf.eth0.arp_filter": "1" } };
    await run([weft, tuning], (pod) => {
      expect(pod.sh("sysctl -n net.ipv4.conf.eth0.arp_filter").trim()).toBe("1");
      reaches(pod);
    });
  });

  test("portmap after: a port of the node leads to the pod", async () => {
    const rules = (): string => node.node.sh("iptables-save -t nat");
    const portmap = { type: "portmap", capabilities: { portMappings: true } };
    const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: "tcp" as const }];
    const pod = node.pod();
    const attachment = { ...attachmentOf(pod), capabilityArguments: { portMappings } };
    const { ips } = await addOrDelete(runtime, list(weft, portmap), attachment);
    // No CHECK: with addresses of both families release 1.1 of portmap looks for rules of one among the other's.
    const address = ips.find((ip) => ip.address.startsWith("10."))?.address.split("/")[0];
    expect(rules()).toContain(`--dport 8080 -j DNAT --to-destination ${address}:80`);
    await runtime.del(list(weft, portmap), attachment);
    expect(rules()).not.toContain("--dport 8080");
    node.removePod(pod);
    // The tables that iptables made stay.
    for (const family of ["ip", "ip6"]) node.node.sh(`nft delete table ${family} nat`);
    await baseline.expectSoon();
  });

  test("bandwidth after: shaped at our end of the pair", async () => {
    const bandwidth = { type: "bandwidth", ingressRate: 8_000_000, ingressBurst: 80_000 };
    await run([weft, bandwidth], (pod) => {
      const [link] = node.node.self.links().filter((l) => /^weft[0-9a-f]{11}$/.test(l.name));
      expect(node.node.sh(`tc qdisc show dev ${link?.name}`)).toContain("qdisc tbf");
      reaches(pod);
    });
  });

  test("sbr after: the container's own routing tables", async () => {
    await run([weft, { type: "sbr" }], (pod, addresses) => {
      expect(addresses.length).toBe(2);
      expect(pod.sh("ip rule show")).toContain(`from ${addresses[0]} lookup 100`);
      pod.sh(`ping -c1 -W20 -I ${addresses[0]} 172.30.0.1`);
    });
  });

  test("a plugin after ours that fails: ADD is taken back", async () => {
    const pod = node.pod();
    const broken = list(weft, { type: "tuning", sysctl: { "net.absent.key": "1" } });
    const error = await addOrDelete(runtime, broken, attachmentOf(pod)).catch((e: unknown) => e);
    expect(error).toMatchObject({ object: "plugin tuning (ADD)" });
    expect(pod.self.link("eth0")).toBeUndefined();
    node.removePod(pod);
    await baseline.expectSoon();
  });

  test("GC with the runtime's list: the others go", async () => {
    const network = parseNetworkConfigurationList({ cniVersion: "1.1.0", name: "weft", plugins: [weft] });
    const [keep, drop] = [node.pod(), node.pod()];
    for (const pod of [keep, drop]) await runtime.add(network, attachmentOf(pod));
    await runtime.gc(network, [{ containerId: keep.containerId, interfaceName: "eth0" }]);
    expect((await node.status()).workloads.map((w) => w.containerId)).toEqual([keep.containerId]);
    reaches(keep);
    await runtime.gc(network, []);
    for (const pod of [keep, drop]) node.removePod(pod);
    await baseline.expectSoon();
  });
});
