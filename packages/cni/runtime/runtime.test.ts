import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { isNotFound, WeftError } from "@weft/base";
import { CniError } from "../errors.ts";
import { type NetworkConfigurationList, parseNetworkConfigurationList } from "../types/configuration.ts";
import { type AttachmentSpec, addOrDelete, createRuntime, type Runtime } from "./runtime.ts";
import { spawnProcess } from "./spawn.ts";
import { PluginDirectory } from "./testing/plugins.ts";

let directory: PluginDirectory;
let runtime: Runtime;

beforeAll(() => {
  directory = new PluginDirectory();
  directory.noop("one");
  directory.noop("two");
  directory.noop("old", ["0.3.1", "0.4.0", "1.0.0"]);
});
afterAll(() => directory.remove());
beforeEach(() => {
  directory.calls();
  runtime = createRuntime({ path: ["/nowhere", directory.bin], cacheDirectory: directory.cache });
});

function network(more: object = {}, one: object = {}, two: object = {}): NetworkConfigurationList {
  const { record } = directory;
  return parseNetworkConfigurationList({
    cniVersion: "1.1.0",
    name: "net",
    plugins: [
      { type: "one", record, ...one },
      { type: "two", record, ...two },
    ],
    ...more,
  });
}

const attachment: AttachmentSpec = {
  containerId: "c1",
  interfaceName: "eth0",
  networkNamespace: "/run/netns/weft-absent",
  args: [
    ["K8S_POD_NAMESPACE", "default"],
    ["K8S_POD_NAME", "web"],
  ],
};

const failureOf = async (promise: Promise<unknown>): Promise<CniError> => {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (error instanceof CniError) return error;
  throw new Error(`expected a CniError, not ${error}`);
};

describe("a list of plugins", () => {
  test("ADD chains results, CHECK and DEL get the last, DEL runs in reverse", async () => {
    const result = await runtime.add(network(), attachment);
    expect(result.interfaces.map((i) => i.name)).toEqual(["one", "two"]);
    await runtime.check(network(), attachment);
    await runtime.del(network(), attachment);
    await runtime.del(network(), attachment);

    const calls = directory.calls();
    const prevOf = (i: number) =>
      calls[i]?.configuration["prevResult"] as { interfaces: object[] } | undefined;
    expect(calls.map((c) => `${c.command} ${c.configuration.type}`)).toEqual([
      "ADD one",
      "ADD two",
      "CHECK one",
      "CHECK two",
      "DEL two",
      "DEL one",
      "DEL two",
      "DEL one",
    ]);
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((i) => prevOf(i)?.interfaces.length)).toEqual([
      undefined,
      1,
      2,
      2,
      2,
      2,
      undefined,
      undefined,
    ]);
    expect(calls[0]?.environment).toEqual({
      CNI_COMMAND: "ADD",
      CNI_CONTAINERID: "c1",
      CNI_IFNAME: "eth0",
      CNI_NETNS: "/run/netns/weft-absent",
      CNI_ARGS: "K8S_POD_NAMESPACE=default;K8S_POD_NAME=web",
      CNI_PATH: `/nowhere:${directory.bin}`,
    });
  });

  test("each plugin gets the capabilities that it declares, and no reserved key", async () => {
    const list = network(
      {},
      {
        capabilities: { mac: true, ips: false },
        "cni.dev/x": 1,
        prevResult: {},
        name: "own",
        cniVersion: "0.1.0",
      },
      { capabilities: { portMappings: true }, runtimeConfig: { mine: 1 } },
    );
    const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: "tcp" as const }];
    await runtime.add(list, {
      ...attachment,
      capabilityArguments: { mac: "02:00:00:00:00:01" as never, ips: ["10.0.0.1/8"], portMappings },
    });
    const [one, two] = directory.calls().map((c) => c.configuration);
    expect(one as object).toEqual({
      type: "one",
      record: directory.record,
      name: "net",
      cniVersion: "1.1.0",
      runtimeConfig: { mac: "02:00:00:00:00:01" },
    });
    expect(two?.["runtimeConfig"]).toEqual({ mine: 1, portMappings });
    expect(two?.["capabilities"]).toBeUndefined();
    await runtime.del(list, attachment);
  });

  test("a failing ADD runs DEL for the whole list and leaves nothing cached", async () => {
    const list = network({}, {}, { fail: { ADD: 102 } });
    const error = await failureOf(addOrDelete(runtime, list, attachment));
    expect(error.cniCode).toBe(102);
    expect(error.object).toBe("plugin two (ADD)");
    expect(directory.calls().map((c) => `${c.command} ${c.configuration.type}`)).toEqual([
      "ADD one",
      "ADD two",
      "DEL two",
      "DEL one",
    ]);
    expect(runtime.cache.list()).toEqual([]);
  });

  test("when that DEL fails too, both errors are told", async () => {
    const list = network({}, { fail: { DEL: 11 } }, { fail: { ADD: 102 } });
    const error = await addOrDelete(runtime, list, attachment).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(WeftError);
    expect(String((error as Error).cause)).toMatch(/fail ADD; then told to fail DEL/);
    directory.calls();
  });

  test("DEL stops at a plugin that fails, but code 3 means that nothing is to be cleaned", async () => {
    const list = network({}, {}, { fail: { DEL: 999 } });
    expect((await failureOf(runtime.del(list, attachment))).cniCode).toBe(999);
    expect(directory.calls().map((c) => c.configuration.type)).toEqual(["two"]);
    await runtime.del(network({}, {}, { fail: { DEL: 3 } }), attachment);
    expect(directory.calls().map((c) => c.configuration.type)).toEqual(["two", "one"]);
  });

  test("CHECK: not when disabled, not below 0.4.0, not without an ADD", async () => {
    await runtime.check(network({ disableCheck: true }), attachment);
    expect((await failureOf(runtime.check(network({ cniVersion: "0.3.1" }), attachment))).cniCode).toBe(1);
    expect(await runtime.check(network(), attachment).catch(isNotFound)).toBe(true);
    expect(directory.calls()).toEqual([]);
  });

  test("invalid names never reach a plugin", async () => {
    for (const bad of [{ containerId: "../x" }, { interfaceName: "a/b" }]) {
      const error = await runtime.add(network(), { ...attachment, ...bad }).catch((e: unknown) => e);
      expect(error).toMatchObject({ code: "invalid" });
    }
    expect(directory.calls()).toEqual([]);
  });
});

describe("GC and STATUS", () => {
  test("GC deletes what is cached and not valid, then tells every plugin, whatever fails", async () => {
    const stay = { ...attachment, containerId: "stay" };
    await runtime.add(network(), attachment);
    await runtime.add(network(), stay);
    await runtime.add(network({ name: "other" }), attachment);
    directory.calls();
    const error = await failureOf(runtime.gc(network({}, { fail: { GC: 11 } }), [stay]));
    expect(error.cniCode).toBe(11);
    const calls = directory.calls();
    expect(
      calls.map((c) => `${c.command} ${c.configuration.type} ${c.environment["CNI_CONTAINERID"]}`),
    ).toEqual(["DEL two c1", "DEL one c1", "GC one undefined", "GC two undefined"]);
    const valid = [{ containerID: "stay", ifname: "eth0" }];
    expect(calls[2]?.configuration["cni.dev/valid-attachments"]).toEqual(valid);
    expect(calls[2]?.configuration["cni.dev/attachments"]).toEqual(valid);
    expect(runtime.cache.list().map((a) => `${a.network} ${a.containerId}`)).toEqual([
      "net stay",
      "other c1",
    ]);
    await runtime.del(network(), stay);
    await runtime.del(network({ name: "other" }), attachment);
  });

  test("GC: nothing when disabled; below 1.1.0 only the cached ones", async () => {
    await runtime.add(network({ cniVersion: "1.0.0" }), attachment);
    directory.calls();
    await runtime.gc(network({ disableGC: true }), []);
    expect(directory.calls()).toEqual([]);
    await runtime.gc(network({ cniVersion: "1.0.0" }), []);
    expect(directory.calls().map((c) => c.command)).toEqual(["DEL", "DEL"]);
  });

  test("STATUS is the first plugin's error", async () => {
    expect(await runtime.status(network())).toBe("ready");
    expect(await runtime.status(network({ cniVersion: "1.0.0" }))).toBe("unknown");
    const error = await failureOf(runtime.status(network({}, {}, { fail: { STATUS: 50 } })));
    expect(error.cniCode).toBe(50);
    directory.calls();
  });
});

describe("versions", () => {
  const versioned = (cniVersions: string[], ...types: string[]) =>
    parseNetworkConfigurationList({
      cniVersion: "0.4.0",
      cniVersions,
      name: "net",
      plugins: types.map((type) => ({ type, record: directory.record })),
    });

  test("the highest that the list and every plugin have", async () => {
    await runtime.add(versioned(["1.0.0", "1.1.0", "7.0.0"], "one", "old"), attachment);
    expect(directory.calls().map((c) => c.configuration["cniVersion"])).toEqual(["1.0.0", "1.0.0"]);
    await runtime.del(versioned(["1.1.0"], "one"), attachment);
    expect(directory.calls()[0]?.configuration["cniVersion"]).toBe("1.1.0");
  });

  test("none in common is error 1", async () => {
    const list = parseNetworkConfigurationList({
      cniVersions: ["0.1.0", "1.1.0"],
      name: "net",
      plugins: [{ type: "old" }],
    });
    const error = await failureOf(runtime.add(list, attachment));
    expect(error.cniCode).toBe(1);
    expect(error.details).toContain("0.3.1, 0.4.0, 1.0.0");
  });

  test("a plugin is probed once, and again when its file has changed", async () => {
    let spawned = 0;
    const counting = createRuntime({
      path: [directory.bin],
      cacheDirectory: directory.cache,
      spawn: (argv, options) => {
        spawned++;
        return spawnProcess(argv, options);
      },
    });
    directory.script("changing", `echo '{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}'`);
    expect(await counting.versions("changing")).toEqual(["1.0.0"]);
    expect(await counting.versions("changing")).toEqual(["1.0.0"]);
    expect(spawned).toBe(1);
    directory.script("changing", `echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}'`);
    expect(await counting.versions("changing")).toEqual(["1.0.0", "1.1.0"]);
    expect(spawned).toBe(2);
  });

  test("a plugin from before VERSION supports 0.1.0", async () => {
    directory.script("ancient", `echo '{"code":100,"msg":"unknown CNI_COMMAND: VERSION"}'; exit 1`);
    expect(await runtime.versions("ancient")).toEqual(["0.1.0"]);
  });
});

describe("the cache", () => {
  test("is readable by libcni: names, modes and keys of a cniCacheV1 record", async () => {
    const list = network({}, { capabilities: { ips: true } });
    await runtime.add(list, { ...attachment, capabilityArguments: { ips: ["10.0.0.1/8"] } });
    const results = join(directory.cache, "results");
    expect(readdirSync(results)).toEqual(["net-c1-eth0"]);
    expect(statSync(join(results, "net-c1-eth0")).mode & 0o777).toBe(0o600);
    const record = JSON.parse(readFileSync(join(results, "net-c1-eth0"), "utf8")) as Record<string, string>;
    expect(record).toMatchObject({
      kind: "cniCacheV1",
      containerId: "c1",
      ifName: "eth0",
      networkName: "net",
      netns: "/run/netns/weft-absent",
      cniArgs: [
        ["K8S_POD_NAMESPACE", "default"],
        ["K8S_POD_NAME", "web"],
      ],
      capabilityArgs: { ips: ["10.0.0.1/8"] },
      result: { cniVersion: "1.1.0", interfaces: [{ name: "one" }, { name: "two" }] },
    });
    expect(JSON.parse(Buffer.from(record["config"] ?? "", "base64").toString())).toMatchObject({
      name: "net",
    });

    const [cached] = runtime.cache.list("net");
    expect(cached).toMatchObject({
      network: "net",
      containerId: "c1",
      version: "1.1.0",
      args: attachment.args,
    });
    await runtime.del(list, attachment);
    expect(readdirSync(results)).toEqual([]);
  });

  test("a damaged record does not keep a container from being deleted or added", async () => {
    await runtime.add(network(), attachment);
    const file = join(directory.cache, "results", "net-c1-eth0");
    await Bun.write(file, '{"kind":"cniCacheV1"');
    expect(runtime.cache.list()).toEqual([]);
    await runtime.add(network(), attachment);
    await Bun.write(file, "");
    await runtime.del(network(), attachment);
    expect(existsSync(file)).toBe(false);
    expect(directory.calls().at(-1)?.configuration["prevResult"]).toBeUndefined();
  });

  test("two attachments never share a file", async () => {
    const first = { ...attachment, containerId: "a-b" };
    await runtime.add(network({ name: "net" }), first);
    const second = { ...attachment, containerId: "b" };
    const clash = network({ name: "net-a" });
    expect(await runtime.add(clash, second).catch((e: unknown) => e)).toMatchObject({ code: "conflict" });
    await runtime.del(clash, second);
    expect(runtime.cache.list("net").length).toBe(1);
    await runtime.del(network({ name: "net" }), first);
  });
});
