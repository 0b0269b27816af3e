import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { hasCode, hintOf } from "@weft/base";
import { temporaryDirectory } from "../testing/api.ts";
import { backup, restore } from "./backup.ts";
import { openDatabase } from "./database.ts";
import { Store } from "./store.ts";

let directory: string;
let file: string;
beforeEach(() => {
  directory = temporaryDirectory();
  file = join(directory, "weft.db");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function fill(count: number): Promise<void> {
  const store = new Store(openDatabase(file));
  for (let i = 0; i < count; i++) {
    const object = { apiVersion: "v1", kind: "Thing", metadata: { name: `n${i}` }, text: "x".repeat(500) };
    await store.transact((tx) => tx.put("things", `n${i}`, object));
  }
  store.close();
}

const failure = (run: () => unknown): unknown => {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("it did not fail");
};

/** It is reported with what to do, and not a byte of it changed. */
function expectReported(): void {
  const before = readFileSync(file);
  const error = failure(() => openDatabase(file));
  expect(hasCode(error, "invalid")).toBe(true);
  expect(String(error)).toContain("damaged");
  expect(hintOf(error)).toContain("restore");
  expect(readFileSync(file).equals(before)).toBe(true);
}

test("an empty file is not a new one", async () => {
  await fill(3);
  truncateSync(file, 0);
  expectReported();
});

test("a file that is something else", () => {
  writeFileSync(file, "These are not the bytes that you are looking for. ".repeat(200));
  expectReported();
});

test("a file that is cut off", async () => {
  await fill(200);
  truncateSync(file, Math.floor(statSync(file).size / 2 / 4096) * 4096);
  expectReported();
});

test("one changed byte inside of an object", async () => {
  await fill(50);
  const bytes = readFileSync(file);
  const at = bytes.indexOf("xxxxxxxxxx", bytes.length / 2);
  expect(at).toBeGreaterThan(0);
  bytes[at + 3] = 0x79;
  writeFileSync(file, bytes);
  expectReported();
});

test("a database of somebody else", () => {
  const { Database } = require("bun:sqlite");
  const other = new Database(file, { create: true });
  other.run("CREATE TABLE t (a)");
  other.close();
  expectReported();
});

test("a data file that is gone while its log is there", async () => {
  await fill(3);
  rmSync(file);
  writeFileSync(`${file}-wal`, "left");
  expect(String(failure(() => openDatabase(file)))).toContain("is missing");
  expect(existsSync(file)).toBe(false);
});

test.each(["removed", "replaced", "without its log"])(
  "nothing is answered as written to a file that is %s under it",
  async (how) => {
    const store = new Store(openDatabase(file));
    const write = (name: string): Promise<void> =>
      store.transact((tx) => tx.put("things", name, { apiVersion: "v1", kind: "Thing", metadata: { name } }));
    await write("before");
    expect(store.lost).toBeUndefined();
    if (how === "replaced") {
      writeFileSync(`${file}.other`, readFileSync(file));
      renameSync(`${file}.other`, file);
    } else rmSync(how === "removed" ? file : `${file}-wal`);
    expect(store.lost).toContain("removed or replaced");
    const { revision } = store;
    expect(write("after")).rejects.toThrow("removed or replaced");
    await expect(write("after")).rejects.toThrow("restore a backup");
    // What is there can still be read, and saved from it.
    expect(store.get("things", "before")).toBeDefined();
    expect(store.get("things", "after")).toBeUndefined();
    expect(store.revision).toBe(revision);
    store.close();
  },
);

test("what a start that was killed left behind is no obstacle", () => {
  writeFileSync(`${file}.new`, "half a file");
  openDatabase(file).close();
  expect(existsSync(file)).toBe(true);
});

test("a backup of a store that is open has all of one moment, and restores", async () => {
  const store = new Store(openDatabase(file));
  const put = (name: string) =>
    store.transact((tx) => tx.put("things", name, { apiVersion: "v1", kind: "Thing", metadata: { name } }));
  await put("a");
  await put("b");
  const copy = join(directory, "copy.db");
  expect(backup(file, copy)).toMatchObject({ objects: 2, revision: store.revision });
  await put("c");
  // The server has it open: not under its feet.
  expect(
    hasCode(
      failure(() => restore(copy, file, { replace: true })),
      "busy",
    ),
  ).toBe(true);
  const { revision } = store;
  store.close();
  expect(
    hasCode(
      failure(() => restore(copy, file)),
      "exists",
    ),
  ).toBe(true);
  expect(restore(copy, file, { replace: true })).toMatchObject({ objects: 2 });
  const again = new Store(openDatabase(file));
  expect([...again.pages("things")].flat().map(({ key }) => key)).toEqual(["a", "b"]);
  // Whoever knows a later state than the restored one must list again.
  expect(again.revision).toBeGreaterThan(revision);
  expect(() => [...again.changes("things", revision)]).toThrow("too old");
  again.close();
});

test("a damaged backup is not restored over anything", async () => {
  await fill(20);
  const copy = join(directory, "copy.db");
  backup(file, copy);
  truncateSync(copy, 8192);
  const before = readFileSync(file);
  expect(String(failure(() => restore(copy, file, { replace: true })))).toContain("damaged");
  expect(readFileSync(file).equals(before)).toBe(true);
  expect(
    hasCode(
      failure(() => backup(file, copy)),
      "exists",
    ),
  ).toBe(true);
  expect(
    hasCode(
      failure(() => backup(file, join(directory, "no", "where"))),
      "not-found",
    ),
  ).toBe(true);
});

test("nobody else may read the data or a copy of it, whatever the umask is", async () => {
  const umask = process.umask(0o022);
  try {
    await fill(1);
    const mode = (path: string): number => statSync(path).mode & 0o777;
    expect(mode(file)).toBe(0o600);
    chmodSync(file, 0o644);
    const open = openDatabase(file);
    expect(["", "-wal", "-shm"].map((suffix) => mode(file + suffix))).toEqual([0o600, 0o600, 0o600]);
    open.close();
    const copy = join(directory, "copy");
    backup(file, copy);
    expect(mode(copy)).toBe(0o600);
    restore(copy, file, { replace: true });
    expect(mode(file)).toBe(0o600);
  } finally {
    process.umask(umask);
  }
});
