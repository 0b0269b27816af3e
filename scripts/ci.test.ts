import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A checkout with what continuous integration starts, and stand-ins for the two suites. */
let root: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "weft-t-ci-"));
  mkdirSync(join(root, "e2e"));
  cpSync(join(import.meta.dir, "../.ci/run"), join(root, ".ci/run"));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function run(test: string, e2e: string, build = "exit 0"): { code: number; output: string; last: string } {
  writeFileSync(join(root, "test"), `#!/bin/bash\n${test}\n`, { mode: 0o755 });
  writeFileSync(join(root, "e2e/run"), `#!/bin/bash\n[ "$1" != --build ] || { ${build}; }\n${e2e}\n`, {
    mode: 0o755,
  });
  const { exitCode, stdout } = Bun.spawnSync([join(root, ".ci/run")], { cwd: "/", stdin: "ignore" });
  const output = stdout.toString();
  expect(output).toEndWith("\n");
  return { code: exitCode, output, last: output.trimEnd().split("\n").at(-1) ?? "" };
}

const says = (line: string, code = 0): string => `echo "something before"; echo "${line}"; exit ${code}`;
const GOOD = says("20 passed, 0 failed, 2 skipped");

test("both suites in one count, and a line for each", () => {
  const { code, last, output } = run(says("300 passed, 0 failed"), GOOD);
  expect({ code, last }).toEqual({ code: 0, last: "320 passed, 0 failed, 2 skipped" });
  expect(output).toContain("== ./test: 300 passed, 0 failed in 0 min\n");
  expect(output).toContain("== ./e2e/run: 20 passed, 0 failed, 2 skipped in 0 min\n");
  expect(output.match(/something before/g)).toHaveLength(2);
});

test("what ./test needs of Kubernetes is built before it, and a build that fails stops nothing", () => {
  const { last, output } = run(
    'echo "the tests: $(cat built)"; echo "3 passed, 0 failed"',
    says("1 passed, 0 failed"),
    "echo yes > built; echo 'the build failed'; exit 1",
  );
  expect(output).toMatch(/the build failed[\s\S]*the tests: yes/);
  expect(last).toBe("4 passed, 0 failed");
});

test("clusters are started all the same when ./test has failed", () => {
  const { code, last } = run(says("299 passed, 1 failed", 1), says("20 passed, 0 failed"));
  expect({ code, last }).toEqual({ code: 1, last: "319 passed, 1 failed" });
});

test("what failed in either suite is told again at the end", () => {
  const bad = (what: string): string =>
    `printf '%s\\n' '-- what failed' '${what}' '    of $HOME' '298 passed, 2 failed'; exit 1`;
  const { output } = run(bad("a.test.ts:1: a"), bad("b: c"));
  expect(output).toEndWith(
    [
      "-- what failed\na.test.ts:1: a\n    of $HOME\nb: c\n    of $HOME",
      "== ./test: 298 passed, 2 failed in 0 min\n== ./e2e/run: 298 passed, 2 failed in 0 min",
      "596 passed, 4 failed\n",
    ].join("\n"),
  );
  expect(run(GOOD, GOOD).output).not.toContain("what failed");
});

test.each([
  ["a suite that has tested nothing", says("0 passed, 0 failed"), "300 passed, 1 failed"],
  [
    "a suite of which all was skipped",
    says("0 passed, 0 failed, 9 skipped"),
    "300 passed, 1 failed, 9 skipped",
  ],
  ["a suite that ends before its count", "echo 'there is no go here' >&2; exit 1", "300 passed, 1 failed"],
  ["a suite that is killed after its count", says("20 passed, 0 failed", 137), "320 passed, 1 failed"],
  ["a suite that kills itself", 'kill -9 "$$"', "300 passed, 1 failed"],
  ["a count that is not the last line", `echo "20 passed, 0 failed"; echo oops`, "300 passed, 1 failed"],
  ["failures with a good exit code", says("19 passed, 1 failed"), "319 passed, 1 failed"],
])("%s is a failure", (_name, e2e, closing) => {
  const { code, last } = run(says("300 passed, 0 failed"), e2e);
  expect({ code, last }).toEqual({ code: 1, last: closing });
});

test("what a suite says on its other output is shown", () => {
  expect(run("echo 'no space left' >&2; exit 1", GOOD).output).toContain("no space left\n");
});
