import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asideIn, putBack, setAside } from "./aside.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "weft-aside-test-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const write = (name: string, text = name): void => writeFileSync(join(directory, name), text);
const read = (name: string): string => readFileSync(join(directory, name), "utf8");
const names = (): string[] => readdirSync(directory).sort();
const own = (): string => join(directory, "10-weft.conflist");

test("what a runtime would take first goes aside, and nothing else; then it comes back", () => {
  for (const name of [
    "05-a.conf",
    "10-flannel.conflist",
    "10-weft.conflist",
    "87-podman-bridge.conflist",
    "99-b.json",
    "notes.txt",
    "x.conflist.bak",
  ])
    write(name);
  mkdirSync(join(directory, "whereabouts.conf"));
  expect(setAside(own())).toEqual(["05-a.conf", "10-flannel.conflist"]);
  expect(setAside(own())).toEqual([]);
  expect(names()).toEqual([
    "05-a.conf.weft-aside",
    "10-flannel.conflist.weft-aside",
    "10-weft.conflist",
    "87-podman-bridge.conflist",
    "99-b.json",
    "notes.txt",
    "whereabouts.conf",
    "x.conflist.bak",
  ]);
  for (const name of asideIn(directory)) putBack(directory, name);
  expect(read("10-flannel.conflist")).toBe("10-flannel.conflist");
  expect(asideIn(directory)).toEqual([]);
  expect(names()).toHaveLength(8);
});

test("what was written again is newer: it goes aside in the place of the old one, and stays when it is there at the end", () => {
  write("10-flannel.conflist", "old");
  setAside(own());
  write("10-flannel.conflist", "new");
  expect(setAside(own())).toEqual(["10-flannel.conflist"]);
  expect(read("10-flannel.conflist.weft-aside")).toBe("new");
  write("10-flannel.conflist", "newest");
  putBack(directory, "10-flannel.conflist.weft-aside");
  expect(read("10-flannel.conflist")).toBe("newest");
  expect(names()).toEqual(["10-flannel.conflist"]);
});

test("a directory that is not there has nothing", () => {
  expect(setAside(join(directory, "none/10-weft.conflist"))).toEqual([]);
  expect(asideIn(join(directory, "none"))).toEqual([]);
});
