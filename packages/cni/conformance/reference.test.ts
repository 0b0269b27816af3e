/** The suite and the runtime against another implementation: the reference plugins, as Debian packages them. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AttachmentSpec, addOrDelete, createRuntime, type Runtime } from "../runtime/runtime.ts";
import { spawnProcess } from "../runtime/spawn.ts";
import { parseNetworkConfigurationList } from "../types/configuration.ts";
import { CNI_VERSIONS } from "../types/version.ts";
import {
  createTestNamespace,
  pluginConformance,
  removeStaleNamespaces,
  type TestNamespace,
} from "./index.ts";

const DIRECTORY = "/usr/lib/cni";
const PREFIX = "weft-t-cni-";
const missing =
  process.getuid?.() !== 0
    ? "needs to be root"
    : existsSync(`${DIRECTORY}/loopback`)
      ? undefined
      : `needs the reference plugins in ${DIRECTORY} (package containernetworking-plugins)`;
const UP_TO_100 = CNI_VERSIONS.filter((v) => v !== "1.1.0");

if (missing !== undefined) {
  test.skip(`reference plugins: ${missing}`, () => {});
} else {
  removeStaleNamespaces(PREFIX);

  pluginConformance("the reference loopback plugin", {
    argv: [`${DIRECTORY}/loopback`],
    versions: UP_TO_100,
    interfaceName: "lo",
    configuration: { name: "lo", type: "loopback" },
    createNamespace: () => createTestNamespace(PREFIX),
    verifyAdded(path, result) {
      expect(result.ips.map((ip) => ip.address as string)).toContain("127.0.0.1/8");
      expect(result.interfaces).toMatchObject([{ name: "lo", sandbox: path }]);
    },
    exceptions: [
      {
        requirement: "result form",
        versions: ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0"],
        reason: "release 1.1 prints the form of 1.0.0 at every version",
      },
    ],
  });

  describe("our runtime runs the reference plugins", () => {
    let root: string;
    let node: TestNamespace;
    let pod: TestNamespace;
    let runtime: Runtime;
    let attachment: AttachmentSpec;

    beforeAll(() => {
      root = mkdtempSync(join(tmpdir(), "weft-cni-"));
      node = createTestNamespace(PREFIX);
      node.run("ip", "link", "set", "lo", "up");
      runtime = createRuntime({
        path: [DIRECTORY],
        cacheDirectory: root,
        // The plugins believe to be on a node of their own: nothing of theirs is in the machine's namespace.
        spawn: (argv, options) =>
          spawnProcess(["/usr/sbin/ip", "netns", "exec", node.name, ...argv], options),
      });
    });
    beforeEach(() => {
      pod = createTestNamespace(PREFIX);
      attachment = { containerId: "c1", interfaceName: "eth0", networkNamespace: pod.path };
    });
    afterEach(() => pod.remove());
    afterAll(() => {
      node.remove();
      rmSync(root, { recursive: true, force: true });
    });

    const bridgeNetwork = (cniVersion: string, ...more: object[]) =>
      parseNetworkConfigurationList({
        cniVersion,
        name: "br",
        plugins: [
          {
            type: "bridge",
            bridge: "br0",
            isGateway: true,
            ipMasq: false,
            ipam: {
              type: "host-local",
              dataDir: join(root, "leases"),
              ranges: [[{ subnet: "10.88.0.0/24" }], [{ subnet: "fd00:88::/64" }]],
              routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
            },
          },
          ...more,
        ],
      });
    const leases = (): string[] =>
      readdirSync(join(root, "leases", "br")).filter((name) => /^(10\.88|fd00)/.test(name));

    test("VERSION of each that is installed", async () => {
      expect(await runtime.versions("bridge")).toEqual(UP_TO_100);
      expect(await runtime.versions("firewall")).toEqual(["0.4.0", "1.0.0"]);
    });

    test("the highest version that a list and its plugins share", async () => {
      const list = parseNetworkConfigurationList({
        cniVersion: "0.3.1",
        cniVersions: ["0.4.0", "1.0.0", "1.1.0"],
        name: "lo",
        plugins: [{ type: "loopback" }],
      });
      await runtime.add(list, { ...attachment, interfaceName: "lo" });
      expect(runtime.cache.list("lo")[0]?.version).toBe("1.0.0");
      expect(pod.run("ip", "-o", "link", "show", "lo")).toContain("UP");
      await runtime.del(list, { ...attachment, interfaceName: "lo" });
      expect(pod.run("ip", "-o", "link", "show", "lo")).not.toContain("UP");
    });

    test.each(["0.2.0", "0.3.1", "0.4.0", "1.0.0"])(
      "bridge and host-local at %s leave nothing",
      async (version) => {
        const list = bridgeNetwork(version);
        const result = await runtime.add(list, attachment);
        const addresses = result.ips.map((ip) => ip.address as string).sort();
        expect(addresses).toEqual([
          expect.stringMatching(/^10\.88\.0\.\d+\/24$/),
          expect.stringMatching(/^fd00:88::[0-9a-f]+\/64$/),
        ]);
        const shown = pod.run("ip", "-o", "address", "show", "dev", "eth0");
        for (const address of addresses) expect(shown).toContain(address);
        expect(pod.run("ip", "route")).toContain("default via 10.88.0.1");
        if (version !== "0.2.0") {
          expect(result.interfaces.map((i) => i.name)).toEqual([
            "br0",
            expect.stringMatching(/^veth/),
            "eth0",
          ]);
          expect(result.ips[0]?.interface).toBe(2);
        }
        if (version >= "0.4.0") {
          await runtime.check(list, attachment);
          pod.run("ip", "address", "flush", "dev", "eth0");
          expect(await runtime.check(list, attachment).catch((e: unknown) => e)).toBeInstanceOf(Error);
        }
        expect(leases().length).toBe(2);

        await runtime.del(list, attachment);
        expect(leases()).toEqual([]);
        expect(pod.run("ip", "-o", "link")).not.toContain("eth0");
        expect(node.run("ip", "-o", "link")).not.toContain("veth");
        expect(runtime.cache.list("br")).toEqual([]);
        await runtime.del(list, attachment);
      },
    );

    test("a chain of three, with tuning after bridge", async () => {
      const tuning = { type: "tuning", sysctl: { "net.core.somaxconn": "511" }, capabilities: { mac: true } };
      const list = bridgeNetwork("1.0.0", tuning, { type: "loopback" });
      const mac = "02:00:00:00:00:2a" as never;
      const result = await runtime.add(list, { ...attachment, capabilityArguments: { mac } });
      expect(result.interfaces.find((i) => i.name === "eth0")?.mac).toBe(mac);
      expect(pod.run("sysctl", "-n", "net.core.somaxconn").trim()).toBe("511");
      await runtime.check(list, { ...attachment, capabilityArguments: { mac } });
      await runtime.del(list, { ...attachment, capabilityArguments: { mac } });
      expect(pod.run("ip", "-o", "link")).not.toContain("eth0");
    });

    test("portmap gets its port mappings", async () => {
      const list = bridgeNetwork("1.0.0", { type: "portmap", capabilities: { portMappings: true } });
      const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: "tcp" as const }];
      const published = { ...attachment, capabilityArguments: { portMappings } };
      const rules = (): string => node.run("iptables-save", "-t", "nat");
      const [address] = (await runtime.add(list, published)).ips.map((ip) => ip.address.split("/")[0]);
      expect(rules()).toContain(`--dport 8080 -j DNAT --to-destination ${address}:80`);
      await runtime.del(list, published);
      expect(rules()).not.toContain("8080");
    });

    test("ADD that fails at the second plugin gives back what the first one took", async () => {
      const list = bridgeNetwork("1.0.0", { type: "tuning", sysctl: { "net.absent.key": "1" } });
      const error = await addOrDelete(runtime, list, attachment).catch((e: unknown) => e);
      expect(error).toMatchObject({ object: "plugin tuning (ADD)" });
      expect(leases()).toEqual([]);
      expect(pod.run("ip", "-o", "link")).not.toContain("eth0");
    });

    test("a pod whose namespace is gone", async () => {
      const gone = createTestNamespace(PREFIX);
      const list = bridgeNetwork("1.0.0");
      const lost: AttachmentSpec = { ...attachment, containerId: "c2", networkNamespace: gone.path };
      await runtime.add(list, lost);
      gone.remove();
      await runtime.gc(list, []);
      expect(leases()).toEqual([]);
      expect(runtime.cache.list()).toEqual([]);
    });
  });
}
