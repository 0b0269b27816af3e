/** The first five minutes of README.md, exactly as they are written. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { enterPlace, faultOf, type Place, parseWalk } from "./harness/walk.ts";
import { CHECKOUT, useWeft, WEFT } from "./harness/weft.ts";

useWeft();

describe("the walker", () => {
  const page = (walk: string): string =>
    `$ not\n<!-- walk:start -->\n${walk}\n<!-- walk:end -->\n$ nor this\n`;
  const block = (...lines: string[]): string => ["```console", ...lines, "```"].join("\n");

  test("reads commands and what is said of them", () => {
    expect(parseWalk("# Weft\n")).toBeUndefined();
    const walk = `${block("$ ./weft check", "# exit 1", "# shows a b", "# shows c")}\nwords\n${block("$ true", "output", "# within 5 s")}`;
    expect(parseWalk(page(walk))).toEqual([
      { command: "./weft check", exit: 1, shows: ["a b", "c"], withinMs: 0 },
      { command: "true", exit: 0, shows: [], withinMs: 5000 },
    ]);
  });

  test("refuses what it does not understand", () => {
    for (const line of ["# exit one", "# within 5", "# show x"]) {
      expect(() => parseWalk(page(block("$ true", line)))).toThrow(line);
    }
    expect(() => parseWalk(page(block("# exit 1")))).toThrow("before any command");
    expect(() => parseWalk(page("nothing"))).toThrow("no command");
  });

  test("finds what a command did not do", () => {
    const step = { command: "x", exit: 1, shows: ["yes"], withinMs: 0 };
    const done = { code: 1, stdout: "oh yes", stderr: "", ms: 0 };
    expect(faultOf(step, done)).toBeUndefined();
    expect(faultOf(step, { ...done, code: 0 })).toStartWith("exit code 0, not 1");
    expect(faultOf(step, { ...done, stdout: "no", stderr: "yes" })).toStartWith('does not show "yes"');
  });

  test("has a place of its own", async () => {
    const place = await enterPlace("echo");
    try {
      expect((await place.run("ls /run/netns /run/weft-lab; true && ./weft a ./weftless")).stdout).toBe(
        "/run/netns:\n\n/run/weft-lab:\na ./weftless\n",
      );
      expect((await place.run("readlink /proc/self/ns/net")).stdout.trim()).toBe(
        readlinkSync("/proc/self/ns/net"),
      );
    } finally {
      await place.leave();
    }
  });
});

/** How much longer a busy machine may take for what takes a while at all. */
const BUSY = 6;
const steps = parseWalk(readFileSync(join(CHECKOUT, "README.md"), "utf8"));

describe("README.md", () => {
  let place: Place;
  beforeAll(async () => {
    place = await enterPlace(WEFT);
  });
  afterAll(() => place.leave());

  test("has a walk", () => expect(steps).toBeDefined());
  for (const [i, step] of (steps ?? []).entries()) {
    test(`${i + 1}: ${step.command}`, async () => {
      // The page speaks of a machine that has nothing else to do.
      const end = performance.now() + BUSY * step.withinMs;
      for (;;) {
        const fault = faultOf(step, await place.run(step.command));
        if (fault === undefined) return;
        if (performance.now() >= end) throw new Error(fault);
        await Bun.sleep(100);
      }
    }, 240_000);
  }
});
