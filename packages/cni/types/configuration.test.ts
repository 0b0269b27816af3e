import { describe, expect, test } from "bun:test";
import { CniError } from "../errors.ts";
import {
  listOfOne,
  parseNetworkConfiguration,
  parseNetworkConfigurationList,
  parseValidAttachments,
} from "./configuration.ts";
import { checkContainerId, checkInterfaceName, checkNetworkName } from "./names.ts";

const codeOf = (body: () => unknown): number | undefined => {
  try {
    body();
  } catch (error) {
    if (error instanceof CniError) return error.cniCode;
    throw error;
  }
  return undefined;
};

describe("network configuration", () => {
  test("keeps unknown keys and fills in the version", () => {
    const text = '{"name":"n","type":"bridge","bridge":"cni0","dns":null,"ipam":{"type":"host-local","x":1}}';
    expect(parseNetworkConfiguration(text)).toEqual({
      cniVersion: "0.1.0",
      name: "n",
      type: "bridge",
      bridge: "cni0",
      ipam: { type: "host-local", x: 1 },
    });
  });

  test.each([
    ["no JSON", "{", 6],
    ["bad version", '{"cniVersion":"x","name":"n","type":"t"}', 6],
    ["no object", "[]", 7],
    ["no name", '{"type":"t"}', 7],
    ["name", '{"name":"a/b","type":"t"}', 7],
    ["no type", '{"name":"n"}', 7],
    ["type", '{"name":"n","type":"../t"}', 7],
    ["ipam type", '{"name":"n","type":"t","ipam":{"type":"a/b"}}', 7],
    ["capabilities", '{"name":"n","type":"t","capabilities":{"portMappings":"yes"}}', 7],
    ["prevResult", '{"name":"n","type":"t","prevResult":[]}', 7],
    ["dns", '{"name":"n","type":"t","dns":{"search":"x"}}', 7],
  ])("%s is refused", (_, text, code) => {
    expect(codeOf(() => parseNetworkConfiguration(text))).toBe(code);
  });

  test("a version from the future is well-formed", () => {
    expect(parseNetworkConfiguration('{"cniVersion":"2.0.0","name":"n","type":"t"}').cniVersion).toBe(
      "2.0.0",
    );
  });
});

describe("network configuration list", () => {
  const plugins = [{ type: "a" }];

  test("reads the keys of 1.1.0", () => {
    const list = parseNetworkConfigurationList({
      cniVersion: "1.0.0",
      cniVersions: ["1.1.0", "0.4.0"],
      name: "n",
      disableCheck: "true",
      disableGC: true,
      loadOnlyInlinedPlugins: false,
      plugins,
      own: 1,
    });
    expect(list).toMatchObject({
      cniVersion: "1.0.0",
      cniVersions: ["0.4.0", "1.0.0", "1.1.0"],
      disableCheck: true,
      disableGC: true,
      loadOnlyInlinedPlugins: false,
      own: 1,
    });
  });

  test("without any version it is 0.1.0", () => {
    expect(parseNetworkConfigurationList({ name: "n", plugins }).cniVersions).toEqual(["0.1.0"]);
    expect(parseNetworkConfigurationList({ name: "n", cniVersions: ["1.1.0"], plugins }).cniVersion).toBe(
      "1.1.0",
    );
  });

  test.each([
    ["empty plugins", { name: "n", plugins: [] }],
    ["none, and none from files", { name: "n", loadOnlyInlinedPlugins: true }],
    ["plugin without type", { name: "n", plugins: [{}] }],
    ["flag", { name: "n", disableCheck: "maybe", plugins }],
    ["name", { name: "-n", plugins }],
  ])("%s is refused", (_, list) => {
    expect(codeOf(() => parseNetworkConfigurationList(list))).toBe(7);
  });

  test("a single configuration is a list of one", () => {
    const list = listOfOne(parseNetworkConfiguration('{"cniVersion":"0.4.0","name":"n","type":"t","x":1}'));
    expect(list).toMatchObject({ cniVersion: "0.4.0", name: "n", plugins: [{ type: "t", x: 1 }] });
  });
});

test("valid attachments: either key, null as empty, never absent", () => {
  const one = [{ containerID: "c", ifname: "eth0" }];
  const expected = [{ containerId: "c", interfaceName: "eth0" }];
  expect(parseValidAttachments({ "cni.dev/valid-attachments": one })).toEqual(expected);
  expect(parseValidAttachments({ "cni.dev/attachments": one })).toEqual(expected);
  expect(parseValidAttachments({ "cni.dev/valid-attachments": null })).toEqual([]);
  expect(codeOf(() => parseValidAttachments({}))).toBe(7);
  expect(codeOf(() => parseValidAttachments({ "cni.dev/attachments": [{ ifname: "a" }] }))).toBe(7);
});

test("names", () => {
  for (const good of ["a", "0", "a_b.c-d"]) expect(checkNetworkName(good)).toBeUndefined();
  for (const bad of ["", "-a", ".a", "a/b", "a b", "ä"]) expect(checkContainerId(bad)).toBeString();
  for (const good of ["eth0", "a".repeat(15), "..."]) expect(checkInterfaceName(good)).toBeUndefined();
  for (const bad of ["", ".", "..", "a".repeat(16), "ä".repeat(8), "a/b", "a:b", "a b", "a\n", "a\u00a0b"]) {
    expect(checkInterfaceName(bad)).toBeString();
  }
});
