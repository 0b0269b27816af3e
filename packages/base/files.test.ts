import { afterAll, beforeEach, expect, test } from "bun:test";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { replaceFile } from "./files.ts";

const directory = mkdtempSync(join(tmpdir(), "weft-t-files-"));
afterAll(() => rmSync(directory, { recursive: true }));
const file = join(directory, "file");
const made = `${file}.${process.pid}.tmp`;
beforeEach(() => {
  for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true });
});

test("makes and replaces, with the mode asked for whatever the old one's", () => {
  replaceFile(file, "one");
  expect([readFileSync(file, "utf8"), statSync(file).mode & 0o777]).toEqual(["one", 0o600]);
  replaceFile(file, "two", 0o644);
  expect([readFileSync(file, "utf8"), statSync(file).mode & 0o777]).toEqual(["two", 0o644]);
  expect(readdirSync(directory)).toEqual(["file"]);
});

test("nothing is written into what somebody else has put where it is made", () => {
  const victim = join(directory, "victim");
  writeFileSync(victim, "as it was", { mode: 0o644 });
  symlinkSync(victim, made);
  replaceFile(file, "secret");
  expect([readFileSync(victim, "utf8"), readFileSync(file, "utf8")]).toEqual(["as it was", "secret"]);
  expect(lstatSync(file).isFile()).toBe(true);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test("what a process that was killed left there is in nobody's way", () => {
  writeFileSync(made, "half");
  replaceFile(file, "whole");
  expect(readdirSync(directory)).toEqual(["file"]);
});

test("a failure throws and leaves nothing behind", () => {
  mkdirSync(file);
  expect(() => replaceFile(file, "text")).toThrow("EISDIR");
  expect(readdirSync(directory)).toEqual(["file"]);
  expect(() => replaceFile(join(directory, "absent/file"), "text")).toThrow("ENOENT");
  // Who reads it is told which file, and what to do.
  expect(() => replaceFile(join(directory, "absent/file"), "text")).toThrow(
    expect.objectContaining({ code: "unavailable", object: join(directory, "absent/file") }),
  );
});

test("several processes at once: a reader sees whole files alone", async () => {
  const script = `
    const { replaceFile } = await import(${JSON.stringify(join(import.meta.dir, "files.ts"))});
    for (let i = 0; i < 200; i++) replaceFile(${JSON.stringify(file)}, process.argv[1].repeat(50_000));`;
  replaceFile(file, "a".repeat(50_000));
  const writers = ["b", "c", "d"].map((text) =>
    Bun.spawn([process.execPath, "-e", script, text], { stdout: "inherit", stderr: "inherit" }),
  );
  const ended = Promise.all(writers.map((w) => w.exited));
  let done = false;
  void ended.then(() => (done = true));
  const seen = new Set<string>();
  while (!done) {
    const text = readFileSync(file, "utf8");
    seen.add(`${text.length} ${new Set(text).size}`);
    await Bun.sleep(0);
  }
  expect(await ended).toEqual([0, 0, 0]);
  expect([...seen]).toEqual(["50000 1"]);
  expect(readdirSync(directory)).toEqual(["file"]);
});
