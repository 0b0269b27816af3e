import { describe, expect, test } from "bun:test";
import type { IpWithLength } from "@weft/base";
import { CniError } from "../errors.ts";
import type { JsonObject } from "../types/json.ts";
import { CNI_VERSIONS, type CniVersion, versionAtLeast } from "../types/version.ts";
import { parseArguments, requireKnown } from "./arguments.ts";
import type { Plugin } from "./plugin.ts";
import { type Command, REQUIREMENTS } from "./requirements.ts";
import { runPlugin, STDIN_LIMIT } from "./run.ts";

interface Recorded {
  readonly plugin: Plugin;
  readonly calls: { readonly command: Command; readonly request: JsonObject }[];
}

function recorder(changes: Partial<Plugin> = {}): Recorded {
  const calls: Recorded["calls"] = [];
  const record = (command: Command) => (request: object) => {
    calls.push({ command, request: request as JsonObject });
  };
  const plugin: Plugin = {
    name: "recorder",
    about: "a plugin that records",
    versions: CNI_VERSIONS,
    add(request) {
      record("ADD")(request);
      const ip = { address: "10.0.0.5/24" as IpWithLength, interface: 0 };
      return (
        request.previousResult ?? {
          interfaces: [{ name: request.interfaceName, mtu: 1500, sandbox: request.networkNamespace }],
          ips: [ip],
          routes: [],
          dns: {},
        }
      );
    },
    del: record("DEL"),
    check: record("CHECK"),
    gc: record("GC"),
    status: record("STATUS"),
    ...changes,
  };
  return { plugin, calls };
}

const ENVIRONMENT = {
  CNI_CONTAINERID: "abc",
  CNI_NETNS: "/run/netns/a",
  CNI_IFNAME: "eth0",
  CNI_PATH: "/opt/cni/bin:/usr/lib/cni",
  CNI_ARGS: "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;IgnoreUnknown=1",
};

async function run(
  plugin: Plugin,
  command: string | undefined,
  configuration: object | string | Uint8Array,
  environment: Record<string, string | undefined> = {},
) {
  let stdout = "";
  let stderr = "";
  const text = (c: object | string): string => (typeof c === "string" ? c : JSON.stringify(c));
  const code = await runPlugin(plugin, {
    environment: { ...ENVIRONMENT, CNI_COMMAND: command, ...environment },
    readStdin: () => (configuration instanceof Uint8Array ? configuration : Buffer.from(text(configuration))),
    writeStdout: (text) => {
      stdout += text;
    },
    writeStderr: (text) => {
      stderr += text;
    },
    namespaceIdentity: (path) => (path === "self" || path === "/proc/1/ns/net" ? "4:1" : "4:2"),
  });
  const json = stdout === "" ? undefined : (JSON.parse(stdout) as Record<string, never>);
  return { code, json, stderr };
}

const conf = (version: CniVersion, more: object = {}): object => ({
  cniVersion: version,
  name: "net",
  type: "recorder",
  ...more,
});

describe("commands", () => {
  test.each(CNI_VERSIONS)("ADD answers in %s", async (version) => {
    const { plugin } = recorder();
    const { code, json } = await run(plugin, "ADD", conf(version));
    expect(code).toBe(0);
    expect(json).toMatchObject(
      versionAtLeast(version, "0.3.0")
        ? { cniVersion: version, ips: [{ address: "10.0.0.5/24" }] }
        : { cniVersion: version, ip4: { ip: "10.0.0.5/24" } },
    );
  });

  test("ADD gets what the environment and the configuration say", async () => {
    const { plugin, calls } = recorder();
    await run(plugin, "ADD", conf("1.0.0", { mine: 1 }));
    expect(calls[0]?.request).toMatchObject({
      version: "1.0.0",
      containerId: "abc",
      interfaceName: "eth0",
      networkNamespace: "/run/netns/a",
      path: ["/opt/cni/bin", "/usr/lib/cni"],
      args: { ignoreUnknown: true, kubernetes: { podNamespace: "default", podName: "web" } },
      configuration: { name: "net", mine: 1 },
      previousResult: undefined,
    });
  });

  test("a previous result arrives in the latest form and leaves in the one asked for", async () => {
    const { plugin, calls } = recorder();
    const prevResult = { interfaces: [{ name: "x" }], ips: [{ version: "4", address: "10.0.0.9/8" }] };
    const { json } = await run(plugin, "ADD", conf("0.4.0", { prevResult }));
    expect(calls[0]?.request["previousResult"]).toMatchObject({ ips: [{ address: "10.0.0.9/8" }] });
    expect(json as unknown).toEqual({ cniVersion: "0.4.0", ...prevResult });
  });

  test("DEL and CHECK print nothing", async () => {
    const { plugin, calls } = recorder();
    const after = conf("1.0.0", { prevResult: { cniVersion: "1.0.0" } });
    expect(await run(plugin, "DEL", conf("1.0.0"), { CNI_NETNS: undefined })).toMatchObject({
      code: 0,
      json: undefined,
    });
    expect(await run(plugin, "CHECK", after)).toMatchObject({ code: 0, json: undefined });
    expect(calls.map((c) => c.command)).toEqual(["DEL", "CHECK"]);
    expect(calls[0]?.request["networkNamespace"]).toBeUndefined();
  });

  test("GC and STATUS need no container", async () => {
    const { plugin, calls } = recorder();
    const none = { CNI_CONTAINERID: undefined, CNI_NETNS: undefined, CNI_IFNAME: undefined };
    const valid = { "cni.dev/valid-attachments": [{ containerID: "a", ifname: "eth0" }] };
    expect((await run(plugin, "GC", conf("1.1.0", valid), none)).code).toBe(0);
    expect((await run(plugin, "STATUS", conf("1.1.0"), none)).code).toBe(0);
    expect(calls[0]?.request["validAttachments"]).toEqual([{ containerId: "a", interfaceName: "eth0" }]);
  });

  test("a plugin without gc and status is clean and ready", async () => {
    const { gc: _, status: __, ...plugin } = recorder().plugin;
    const none = { "cni.dev/valid-attachments": [] };
    expect((await run(plugin, "GC", conf("1.1.0", none))).code).toBe(0);
    expect((await run(plugin, "STATUS", conf("1.1.0"))).code).toBe(0);
  });

  test("VERSION echoes the version it is asked in", async () => {
    const { plugin } = recorder({ versions: ["0.4.0", "1.0.0"] });
    const answer = await run(plugin, "VERSION", '{"cniVersion":"0.4.0"}', { CNI_CONTAINERID: undefined });
    expect(answer.json as unknown).toEqual({ cniVersion: "0.4.0", supportedVersions: ["0.4.0", "1.0.0"] });
    expect((await run(plugin, "VERSION", "")).json?.["cniVersion"] as unknown).toBe("1.0.0");
  });

  test("run by hand it says what it is", async () => {
    const { plugin } = recorder();
    for (const command of [undefined, ""]) {
      const { code, json, stderr } = await run(plugin, command, "");
      expect({ code, json }).toEqual({ code: 0, json: undefined });
      expect(stderr).toBe(
        "a plugin that records\nCNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n",
      );
    }
  });
});

describe("refusals", () => {
  const refused = async (
    command: string,
    configuration: object | string | Uint8Array,
    environment: Record<string, string | undefined> = {},
    changes: Partial<Plugin> = {},
  ) => {
    const { plugin, calls } = recorder(changes);
    const { code, json } = await run(plugin, command, configuration, environment);
    expect(code).toBe(1);
    return { ...(json as unknown as { code: number; msg: string; cniVersion: string }), calls };
  };

  test("every variable of the table is required, and all that are missing are named at once", async () => {
    for (const [command, { variables }] of Object.entries(REQUIREMENTS)) {
      if (variables.length === 0) continue;
      const none = Object.fromEntries(variables.map((v) => [v, undefined]));
      const { code, msg, calls } = await refused(command, conf("1.1.0"), none);
      expect(code).toBe(4);
      for (const v of variables) expect(msg).toContain(v);
      expect(calls).toEqual([]);
    }
  });

  test("every variable that is invalid is named at once", async () => {
    const { code, msg } = await refused("ADD", conf("1.0.0"), { CNI_CONTAINERID: "/", CNI_IFNAME: "a b" });
    expect(code).toBe(4);
    expect(msg).toContain("CNI_CONTAINERID");
    expect(msg).toContain("CNI_IFNAME");
  });

  test("an unknown command, also one that every object has", async () => {
    for (const command of ["add", "FROB", "toString"]) {
      expect((await refused(command, conf("1.0.0"))).code).toBe(4);
    }
  });

  test("commands that the version does not have", async () => {
    const prev = { prevResult: { cniVersion: "0.3.1" } };
    expect(await refused("CHECK", conf("0.3.1", prev))).toMatchObject({ code: 1, cniVersion: "0.3.1" });
    expect((await refused("GC", conf("1.0.0"))).code).toBe(1);
    expect((await refused("STATUS", conf("1.0.0"))).code).toBe(1);
  });

  test("versions that the plugin does not have", async () => {
    const changes: Partial<Plugin> = { versions: ["1.0.0"] };
    const none = await refused("ADD", { name: "n", type: "t" }, {}, changes);
    expect(none).toMatchObject({ code: 1, cniVersion: "1.0.0" });
    expect((await refused("ADD", { cniVersion: "9.0.0", name: "n", type: "t" })).code).toBe(1);
    expect((await refused("ADD", { cniVersion: "x", name: "n", type: "t" })).code).toBe(6);
  });

  test("bad input", async () => {
    expect((await refused("ADD", "")).code).toBe(6);
    expect((await refused("ADD", "[]")).code).toBe(7);
    expect((await refused("VERSION", "{")).code).toBe(6);
    expect((await refused("ADD", { cniVersion: "1.0.0", type: "t" })).code).toBe(7);
    expect((await refused("CHECK", conf("1.0.0"))).code).toBe(7);
    expect((await refused("GC", conf("1.1.0"))).code).toBe(7);
    const prevResult = { cniVersion: "1.0.0", ips: [{ address: "x" }] };
    const { code, msg } = await refused("DEL", conf("1.0.0", { prevResult }));
    expect(code).toBe(6);
    expect(msg).toContain("prevResult.ips[0].address");
    expect((await refused("ADD", conf("1.0.0"), { CNI_ARGS: "nonsense" })).code).toBe(4);
  });

  test("more input than the limit", async () => {
    const { code, msg } = await refused("ADD", new Uint8Array(STDIN_LIMIT + 1));
    expect(code).toBe(5);
    expect(msg).toContain(String(STDIN_LIMIT));
  });

  test("the plugin's own namespace, unless that is meant", async () => {
    const own = { CNI_NETNS: "/proc/1/ns/net" };
    for (const command of ["ADD", "DEL"]) expect((await refused(command, conf("1.0.0"), own)).code).toBe(8);
    const { plugin } = recorder();
    expect((await run(plugin, "ADD", conf("1.0.0"), { ...own, CNI_NETNS_OVERRIDE: "TRUE" })).code).toBe(0);
  });

  test("CNI_ARGS that the plugin does not know", async () => {
    const args = { CNI_ARGS: "K8S_POD_NAME=a;COLOUR=red" };
    const { code, msg } = await refused("ADD", conf("1.0.0"), args, { arguments: ["IP"] });
    expect({ code, names: msg.includes("COLOUR") }).toEqual({ code: 4, names: true });
    const { plugin } = recorder({ arguments: ["COLOUR"] });
    expect((await run(plugin, "ADD", conf("1.0.0"), args)).code).toBe(0);
  });

  test("what the plugin throws is printed in the version asked for", async () => {
    const fail = (error: unknown): Partial<Plugin> => ({
      add: () => {
        throw error;
      },
      async status() {
        throw error;
      },
    });
    const own = await refused("ADD", conf("0.4.0"), {}, fail(new CniError(102, "full")));
    expect(own).toMatchObject({ cniVersion: "0.4.0", code: 102, msg: "full" });
    const unforeseen = await refused("STATUS", conf("1.1.0"), {}, fail(new TypeError("oops")));
    expect(unforeseen).toMatchObject({ cniVersion: "1.1.0", code: 999, msg: "oops" });
  });

  test("a broken standard input is error 5", async () => {
    let printed = "";
    const code = await runPlugin(recorder().plugin, {
      environment: { ...ENVIRONMENT, CNI_COMMAND: "ADD" },
      readStdin: () => {
        throw new Error("EBADF");
      },
      writeStdout: (text) => {
        printed += text;
      },
      writeStderr: () => {},
      namespaceIdentity: () => undefined,
    });
    expect(code).toBe(1);
    expect(JSON.parse(printed)).toMatchObject({ code: 5, details: "EBADF" });
  });
});

describe("CNI_ARGS", () => {
  test("keys and values", () => {
    const args = parseArguments("A=1;B=x=y;;A=2;K8S_POD_NAME=p;K8S_POD_NAMESPACE=n;K8S_POD_UID=u;");
    expect([...args.values].slice(0, 2)).toEqual([
      ["A", "2"],
      ["B", "x=y"],
    ]);
    expect(args.kubernetes).toEqual({ podNamespace: "n", podName: "p", podUid: "u" });
    expect(parseArguments("").kubernetes).toBeUndefined();
    expect(parseArguments("__proto__=x").values.get("__proto__")).toBe("x");
  });

  test("refusals", () => {
    for (const bad of ["A", "=1", "IgnoreUnknown=maybe"]) expect(() => parseArguments(bad)).toThrow(CniError);
    expect(() => requireKnown(parseArguments("A=1"), [])).toThrow("A");
    expect(() => requireKnown(parseArguments("A=1;IgnoreUnknown=true"), [])).not.toThrow();
  });
});
