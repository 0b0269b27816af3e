import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { isNotFound } from "@weft/base";
import { CniError } from "../errors.ts";
import { findConfigurationList, loadConfigurationList, loadConfigurationLists } from "./load.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "weft-cni-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const write = (name: string, content: object | string): string => {
  const file = join(directory, name);
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  return file;
};

test("every kind of file in the order of names; a broken one does not hide the rest", () => {
  write("20-b.conflist", { cniVersion: "1.0.0", name: "b", plugins: [{ type: "x" }] });
  write("10-a.conf", { cniVersion: "0.4.0", name: "a", type: "y" });
  write("05-broken.conflist", "{");
  write("30-c.json", { name: "c", type: "z" });
  write("99-loopback.txt", "ignored");
  mkdirSync(join(directory, "40-d.conf"));
  const { lists, failures } = loadConfigurationLists(directory);
  expect(lists.map(({ file, list }) => `${basename(file)} ${list.name} ${list.plugins[0]?.type}`)).toEqual([
    "10-a.conf a y",
    "20-b.conflist b x",
    "30-c.json c z",
  ]);
  expect(failures.map(({ file }) => basename(file))).toEqual(["05-broken.conflist"]);
  expect(failures[0]?.error).toMatchObject({
    cniCode: 6,
    message: expect.stringContaining("05-broken.conflist"),
  });
  expect(findConfigurationList(directory).name).toBe("a");
  expect(findConfigurationList(directory, "c").cniVersion).toBe("0.1.0");
});

test("nothing there", () => {
  expect(loadConfigurationLists(join(directory, "absent")).lists).toEqual([]);
  for (const name of [undefined, "x"]) {
    try {
      findConfigurationList(directory, name);
      throw new Error("found one");
    } catch (error) {
      expect(isNotFound(error)).toBe(true);
    }
  }
  write("1.conf", "[]");
  expect(() => findConfigurationList(directory)).toThrow(CniError);
});

test("plugins from the network's own directory, unless only inlined ones count", () => {
  const list = { cniVersion: "1.1.0", name: "net", plugins: [{ type: "first" }] };
  mkdirSync(join(directory, "net"));
  write("net/20-third.conf", { type: "third" });
  write("net/10-second.conf", { type: "second" });
  const typesOf = (content: object): string[] =>
    loadConfigurationList(write("net.conflist", content)).plugins.map((p) => p.type);
  expect(typesOf(list)).toEqual(["first", "second", "third"]);
  expect(typesOf({ ...list, loadOnlyInlinedPlugins: true })).toEqual(["first"]);
  expect(typesOf({ cniVersion: "1.1.0", name: "net" })).toEqual(["second", "third"]);
  expect(() => typesOf({ cniVersion: "1.1.0", name: "none" })).toThrow("no plugins");
});
