/** Placing the plugin and cleaning a node, on a real directory and in a real network namespace. */
import { afterAll, afterEach, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hasCode, hintOf } from "@weft/base";
import { placePlugin } from "./place.ts";

setDefaultTimeout(240_000);
const scratch = mkdtempSync(join(tmpdir(), "weft-place-test-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const to = join(scratch, "opt/cni/bin");
afterEach(() => rmSync(to, { recursive: true, force: true }));

const executable = join(scratch, "weft");
const shim = join(scratch, "shim");
beforeAll(() => {
  writeFileSync(executable, Buffer.alloc(3 << 20, 7), { mode: 0o755 });
  writeFileSync(shim, "shim", { mode: 0o755 });
});

const [loopback, plugin] = [join(to, "weft-loopback"), join(to, "weft")];

test("both files, the executable first; a second time nothing is written", () => {
  expect(placePlugin({ to, executable, shim })).toEqual([loopback, plugin, join(to, "loopback")]);
  expect(readlinkSync(join(to, "loopback"))).toBe("weft-loopback");
  expect(readFileSync(plugin, "utf8")).toBe("shim");
  expect(statSync(loopback).mode & 0o777).toBe(0o755);
  const { ino } = statSync(loopback);
  expect(placePlugin({ to, executable, shim })).toEqual([]);
  expect(statSync(loopback).ino).toBe(ino);
});

test("what differs is replaced: other bytes of the same size, a part of it, a lost mode, a directory's leftovers", () => {
  placePlugin({ to, executable, shim });
  const bytes = readFileSync(loopback);
  bytes[bytes.length - 1] = 8;
  writeFileSync(loopback, bytes);
  expect(placePlugin({ to, executable, shim })).toEqual([loopback]);
  writeFileSync(loopback, bytes.subarray(0, 1000));
  expect(placePlugin({ to, executable, shim })).toEqual([loopback]);
  chmodSync(plugin, 0o644);
  expect(placePlugin({ to, executable, shim })).toEqual([plugin]);
  writeFileSync(join(to, ".weft.new"), "of a placing that was killed");
  rmSync(plugin);
  expect(placePlugin({ to, executable, shim })).toEqual([plugin]);
  expect(readdirSync(to).sort()).toEqual(["loopback", "weft", "weft-loopback"]);
});

test("the loopback of somebody else stays", () => {
  mkdirSync(to, { recursive: true });
  writeFileSync(join(to, "loopback"), "theirs");
  expect(placePlugin({ to, executable, shim })).toEqual([loopback, plugin]);
  expect(readFileSync(join(to, "loopback"), "utf8")).toBe("theirs");
});

test("a plugin that is running is replaced under its feet, and goes on", async () => {
  mkdirSync(to, { recursive: true });
  placePlugin({ to, executable, shim: "/bin/sleep" });
  const running = Bun.spawn([plugin, "30"]);
  placePlugin({ to, executable, shim });
  expect(readFileSync(plugin, "utf8")).toBe("shim");
  expect(running.exitCode).toBeNull();
  running.kill("SIGKILL");
  await running.exited;
});

test("without a shim the executable is the plugin", () => {
  placePlugin({ to, executable, shim: undefined });
  expect(readFileSync(plugin).equals(readFileSync(executable))).toBe(true);
});

test("a reader never sees a part: it finds whole files all the time", async () => {
  placePlugin({ to, executable, shim });
  const other = join(scratch, "other");
  writeFileSync(other, Buffer.alloc(3 << 20, 9), { mode: 0o755 });
  const script = `for i in $(seq 60); do cksum < ${loopback}; done | sort -u | wc -l`;
  const reader = Bun.spawn(["sh", "-c", script], { stdout: "pipe" });
  while (reader.exitCode === null) {
    placePlugin({ to, executable: other, shim });
    placePlugin({ to, executable, shim });
    await Bun.sleep(1);
  }
  expect(Number(await reader.stdout.text())).toBeLessThanOrEqual(2);
});

test("places that cannot be written are named, with what to do, and nothing is left there", () => {
  const file = join(scratch, "file");
  writeFileSync(file, "");
  const bad = (directory: string): unknown => {
    try {
      return placePlugin({ to: directory, executable, shim });
    } catch (error) {
      return error;
    }
  };
  expect(hasCode(bad(join(file, "x")), "not-found")).toBe(true);
  expect(hintOf(bad(join(file, "x")))).toContain("--cni-bin-dir");
  expect(hasCode(bad("/proc/sys/nowhere"), "not-found") || hasCode(bad("/proc/nowhere"), "not-found")).toBe(
    true,
  );
  mkdirSync(join(to, "weft"), { recursive: true });
  expect(bad(to)).toBeInstanceOf(Error);
  expect(existsSync(join(to, ".weft.new"))).toBe(false);
});
