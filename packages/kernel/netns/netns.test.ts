import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { isExists, isInvalid, isNotFound } from "@weft/base";
import {
  createAnonymous,
  createNamed,
  deleteNamed,
  inNetns,
  inNewNetns,
  listNamed,
  NETNS_DIRECTORY,
  namedPath,
  openNetns,
  openOwnNetns,
  spawnIn,
  spawnSyncIn,
} from "./index.ts";

const STALE = "weft-t-netns-";
/** Of this run: another checkout's may go on beside it. */
const PREFIX = `${STALE}${process.pid}`;
const NAME = PREFIX;
const OWN = "/proc/thread-self/ns/net";
const clean = (): void => {
  for (const name of listNamed(STALE)) {
    const pid = name.slice(STALE.length);
    if (name === NAME || !existsSync(`/proc/${pid}`)) deleteNamed(name);
  }
};
beforeAll(clean);
afterAll(clean);

const caught = (fn: () => unknown): unknown => {
  try {
    fn();
  } catch (error) {
    return error;
  }
  return undefined;
};
const ip = (...argv: string[]): number => Bun.spawnSync(["ip", ...argv]).exitCode;
const descriptors = (): number => readdirSync("/proc/self/fd").length;

describe("named namespaces", () => {
  test("are made, found, opened and removed", () => {
    createNamed(NAME);
    expect(listNamed(PREFIX)).toEqual([NAME]);
    const handle = openNetns(namedPath(NAME));
    const again = openNetns(namedPath(NAME));
    expect(again.identity).toBe(handle.identity);
    again.close();
    deleteNamed(NAME);
    expect(listNamed(PREFIX)).toEqual([]);
    // The handle holds it still.
    expect(inNetns(handle.fd, () => readFileSync("/proc/thread-self/net/dev", "utf8"))).toContain("lo:");
    handle.close();
    handle.close();
    deleteNamed(NAME);
    expect(isNotFound(caught(() => openNetns(namedPath(NAME))))).toBe(true);
  });
  test("ip(8) works on ours", () => {
    createNamed(NAME);
    expect(ip("netns", "exec", NAME, "true")).toBe(0);
    const listed = Bun.spawnSync(["ip", "-j", "netns", "list"]).stdout.toString();
    expect(JSON.parse(listed)).toContainEqual(expect.objectContaining({ name: NAME }));
    expect(ip("netns", "del", NAME)).toBe(0);
    expect(listNamed(PREFIX)).toEqual([]);
  });
  test("ours work on those of ip(8)", () => {
    expect(ip("netns", "add", NAME)).toBe(0);
    expect(isExists(caught(() => createNamed(NAME)))).toBe(true);
    openNetns(namedPath(NAME)).close();
    deleteNamed(NAME);
    expect(existsSync(`${NETNS_DIRECTORY}/${NAME}`)).toBe(false);
  });
  test("one that was only half made is found, is none, and can be removed", () => {
    writeFileSync(`${NETNS_DIRECTORY}/${NAME}`, "");
    expect(listNamed(PREFIX)).toEqual([NAME]);
    expect(isNotFound(caught(() => openNetns(namedPath(NAME))))).toBe(true);
    expect(isExists(caught(() => createNamed(NAME)))).toBe(true);
    deleteNamed(NAME);
    createNamed(NAME);
    deleteNamed(NAME);
  });
  test("have a name that is a file's", () => {
    for (const name of ["", ".", "..", "a/b", "../x", "a b", "x".repeat(300)]) {
      expect(isInvalid(caught(() => createNamed(name)))).toBe(true);
    }
  });
});

const MODULE = new URL("./index.ts", import.meta.url).pathname;
const script = (text: string): string => `import * as netns from ${JSON.stringify(MODULE)}; ${text}`;

test("a name outlives the process that made it", () => {
  const make = script(`netns.createNamed(${JSON.stringify(NAME)});`);
  expect(Bun.spawnSync([process.execPath, "-e", make]).exitCode).toBe(0);
  openNetns(namedPath(NAME)).close();
  deleteNamed(NAME);
});

test("the first name on a machine makes /run/netns as ip(8) does", () => {
  // In a mount namespace of its own, with an empty /run.
  const make = script(`netns.createNamed("first"); netns.createNamed("second");`);
  const commands = `mount -t tmpfs none /run && "$0" -e "$1" && ip netns exec first true && ip netns del first &&
    ip netns add third && grep -c " /run/netns .*shared:" /proc/self/mountinfo && ls /run/netns`;
  const { stdout, stderr } = Bun.spawnSync(["unshare", "-m", "sh", "-c", commands, process.execPath, make]);
  expect(stderr.toString()).toBe("");
  expect(stdout.toString().split("\n")).toEqual(["1", "second", "third", ""]);
});

describe("switching", () => {
  const here = readlinkSync(OWN);
  test("comes back, after an error too, and from the inner of two", () => {
    const a = createAnonymous();
    const b = createAnonymous();
    const inside = inNetns(a.fd, () => {
      const outer = readlinkSync(OWN);
      const inner = inNetns(b.fd, () => readlinkSync(OWN));
      expect(readlinkSync(OWN)).toBe(outer);
      return [outer, inner];
    });
    expect(new Set([here, ...inside]).size).toBe(3);
    expect(String(caught(() => inNetns(a.fd, () => expect.unreachable("thrown inside"))))).toContain(
      "inside",
    );
    expect(readlinkSync(OWN)).toBe(here);
    a.close();
    b.close();
  });
  test("refuses to wait", () => {
    expect(isInvalid(caught(() => inNewNetns(() => Promise.resolve())))).toBe(true);
    expect(readlinkSync(OWN)).toBe(here);
  });
  test("into what is no namespace", () => {
    expect(caught(() => inNetns(1_000_000, () => {}))).toBeDefined();
    expect(isNotFound(caught(() => openNetns("/proc/self/ns/mnt")))).toBe(true);
    expect(isNotFound(caught(() => openNetns("/proc/self/status")))).toBe(true);
  });
  test("leaks no descriptor", () => {
    const before = descriptors();
    for (let i = 0; i < 20; i++) {
      createAnonymous().close();
      openOwnNetns().close();
      caught(() => openNetns("/proc/self/status"));
      closeSync(inNewNetns(() => openNetns(OWN)).fd);
    }
    // The runtime may close some of its own meanwhile.
    expect(descriptors()).toBeLessThan(before + 10);
  });
});

test("a process starts in the namespace and stays there", async () => {
  const handle = createAnonymous();
  const child = spawnIn(handle, ["readlink", "/proc/self/ns/net"], { stdout: "pipe" });
  const there = (await child.stdout.text()).trim();
  expect(there).toBe(inNetns(handle.fd, () => readlinkSync(OWN)));
  expect(spawnSyncIn(handle, ["readlink", "/proc/self/ns/net"]).stdout.toString().trim()).toBe(there);
  expect(openNetns(handle.path).identity).toBe(handle.identity);
  handle.close();
});
