import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { CNI_VERSIONS } from "@weft/cni";
import {
  callPlugin,
  createTestNamespace,
  errorOf,
  pluginConformance,
  removeStaleNamespaces,
} from "@weft/cni/conformance";

const PREFIX = "weft-t-cnilo-";
const REFERENCE = "/usr/lib/cni/loopback";
const argv = [process.execPath, join(import.meta.dir, "main.ts")];

if (process.getuid?.() !== 0) {
  test.skip("the loopback plugin needs to be root", () => {});
} else {
  removeStaleNamespaces(PREFIX);
  const isUp = (path: string): boolean => {
    const name = path.slice(path.lastIndexOf("/") + 1);
    const { stdout } = Bun.spawnSync(["ip", "-n", name, "-o", "link", "show", "lo"]);
    return /<[^>]*\bUP\b/.test(stdout.toString());
  };

  pluginConformance("the loopback plugin", {
    argv,
    versions: CNI_VERSIONS,
    interfaceName: "lo",
    configuration: { name: "lo", type: "loopback" },
    createNamespace: () => createTestNamespace(PREFIX),
    verifyAdded(path, result) {
      expect(isUp(path)).toBe(true);
      expect(result.ips.map((ip) => ip.address as string)).toEqual(["127.0.0.1/8", "::1/128"]);
    },
    verifyDeleted(path) {
      expect(isUp(path)).toBe(false);
    },
  });

  const call = (path: string, command: string, more: object = {}, program: readonly string[] = argv) =>
    callPlugin({
      argv: program,
      environment: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: "c1",
        CNI_NETNS: path,
        CNI_IFNAME: "lo",
        CNI_PATH: "/usr/lib/cni",
      },
      stdin: JSON.stringify({ cniVersion: "1.0.0", name: "lo", type: "loopback", ...more }),
    });

  test.skipIf(!existsSync(REFERENCE))(
    "prints what the reference plugin prints, and either can check",
    async () => {
      const [ours, theirs] = [createTestNamespace(PREFIX), createTestNamespace(PREFIX)];
      try {
        const a = JSON.parse((await call(ours.path, "ADD")).stdout) as object;
        const b = JSON.parse(
          (await call(theirs.path, "ADD", {}, [REFERENCE])).stdout.replaceAll(theirs.path, ours.path),
        );
        const { dns: _, ...rest } = b as Record<string, unknown>;
        expect(a).toEqual(rest);
        expect((await call(ours.path, "CHECK", { prevResult: a }, [REFERENCE])).code).toBe(0);
        expect((await call(theirs.path, "CHECK", { prevResult: a })).code).toBe(0);
      } finally {
        ours.remove();
        theirs.remove();
      }
    },
  );

  test("CHECK tells what is wrong", async () => {
    const namespace = createTestNamespace(PREFIX);
    try {
      const prevResult = JSON.parse((await call(namespace.path, "ADD")).stdout) as object;
      namespace.run("ip", "address", "del", "127.0.0.1/8", "dev", "lo");
      expect(errorOf(await call(namespace.path, "CHECK", { prevResult })).msg).toContain("127.0.0.1/8");
      namespace.run("ip", "link", "set", "lo", "down");
      expect(errorOf(await call(namespace.path, "CHECK", { prevResult }))).toMatchObject({
        code: 111,
        msg: "the interface lo is down",
      });
    } finally {
      namespace.remove();
    }
  });

  test("ADD into a namespace that is none", async () => {
    expect(errorOf(await call("/run/netns/weft-absent", "ADD")).code).toBe(104);
    expect(errorOf(await call("/etc/hostname", "ADD")).code).toBeGreaterThanOrEqual(100);
    expect(errorOf(await call("/proc/self/ns/net", "ADD")).code).toBe(8);
  });
}
