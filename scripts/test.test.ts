import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parseFailures, parseReport } from "./report.ts";

/** A checkout with the runner and some rooms. */
let root: string;

/** Processes of these tests and of no other run of them. */
const HUNG = ["sleep", `97531.${process.pid}`];
const LEFT = ["sleep", `97532.${process.pid}`];
/** Minutes in which a room that does not hang has ended, on a busy machine too. */
const SHORT = "0.15";

const ROOMS = {
  "packages/good/a.test.ts": 'test("one", () => {}); test.skip("two", () => {});',
  "packages/good/deep/b.test.ts": 'test("three", () => {});',
  "packages/bad/a.test.ts": 'test("wrong", () => { expect("this").toBe("that"); }); test("right", () => {});',
  "packages/broken/a.test.ts": 'import "./absent.ts"; test("never", () => {});',
  "packages/all-skipped/a.test.ts": 'test.skip("one", () => {});',
  "packages/crash/a.test.ts": 'test("kills itself", () => { process.kill(process.pid, "SIGKILL"); });',
  "packages/hung/a.test.ts": `test("hangs", async () => { Bun.spawn(${JSON.stringify(HUNG)}); await Bun.sleep(1e8); }, 1e8);`,
  // Each ends only when the other has begun.
  ...Object.fromEntries(
    ["ping", "pong"].map((name) => [
      `packages/${name}/a.test.ts`,
      `import { existsSync, writeFileSync } from "node:fs";
       test("meets the other", async () => {
         writeFileSync("began-${name}", "");
         while (!existsSync("began-${name === "ping" ? "pong" : "ping"}")) await Bun.sleep(5);
       });`,
    ]),
  ),
  "packages/left/a.test.ts": `test("leaves one", () => { Bun.spawn(${JSON.stringify(LEFT)}).unref(); });`,
};

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "weft-t-runner-"));
  for (const name of ["test.ts", "report.ts"])
    cpSync(join(import.meta.dir, name), join(root, "scripts", name));
  for (const [file, text] of Object.entries(ROOMS)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), `import { expect, test } from "bun:test";\nvoid expect;\n${text}\n`);
  }
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

function run(
  paths: readonly string[],
  env: Record<string, string> = {},
): { code: number; output: string; last: string } {
  // Not as many as whoever runs this has said.
  const { WEFT_TEST_LANES: _, WEFT_TEST_MINUTES: __, ...environment } = process.env;
  const { exitCode, stdout, stderr } = Bun.spawnSync(
    [process.execPath, "run", join(root, "scripts/test.ts"), ...paths],
    { cwd: root, env: { ...environment, ...env }, stdin: "ignore" },
  );
  expect(stderr.toString()).toBe("");
  const output = stdout.toString();
  expect(output).toEndWith("\n");
  return { code: exitCode, output, last: output.trimEnd().split("\n").at(-1) ?? "" };
}

/** How many processes run with exactly these words. */
function count(words: readonly string[]): number {
  const wanted = `${words.join("\0")}\0`;
  return readdirSync("/proc").filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8") === wanted;
    } catch {
      return false;
    }
  }).length;
}

/** A process that was killed is still there for a moment. */
async function untilGone(words: readonly string[]): Promise<void> {
  const end = performance.now() + 60_000;
  while (count(words) > 0) {
    if (performance.now() > end) throw new Error(`${words.join(" ")} still runs`);
    await Bun.sleep(10);
  }
}

test("a room that passes", () => {
  const { code, last, output } = run(["packages/good"]);
  expect({ code, last }).toEqual({ code: 0, last: "2 passed, 0 failed, 1 skipped" });
  expect(output).not.toContain("three");
});

test("a single file, and continuous integration", () => {
  const { code, last } = run(["packages/good/deep/b.test.ts"], { CI: "true" });
  expect({ code, last }).toEqual({ code: 0, last: "1 passed, 0 failed" });
});

test("a failure is shown, and the other rooms still run", () => {
  const { code, last, output } = run(["packages/bad", "packages/good/"]);
  expect({ code, last }).toEqual({ code: 1, last: "3 passed, 1 failed, 1 skipped" });
  expect(output).toContain('Expected: "that"');
  // Once where it happened, and in short before the count.
  const list = output.slice(output.indexOf("-- what failed\n"));
  expect(list).toMatch(
    /^-- what failed\npackages\/bad\/a\.test\.ts:3: wrong\n {4}AssertionError: .*\n {4}Expected: "that"\n/,
  );
  expect(list).not.toContain("right");
});

test("a room without failures lists none", () => {
  expect(run(["packages/good"]).output).not.toContain("what failed");
});

test.each([
  ["packages/broken", "0 passed, 1 failed", "Cannot find module"],
  ["packages/all-skipped", "0 passed, 1 failed, 1 skipped", "nothing was tested"],
  ["packages/crash", "0 passed, 1 failed", "ended by SIGKILL"],
  ["packages/absent", "0 passed, 1 failed", "packages/absent is no file or directory of this checkout"],
  ["/etc", "0 passed, 1 failed", "/etc is no file or directory of this checkout"],
])("%s is a failure", (path, closing, said) => {
  const { code, last, output } = run([path]);
  expect({ code, last }).toEqual({ code: 1, last: closing });
  expect(output).toContain(said);
  expect(output.slice(output.indexOf("-- what failed\n"))).toContain(said);
});

test("a room that hangs is ended with all that it started", async () => {
  const { code, last, output } = run(["packages/hung", "packages/good"], { WEFT_TEST_MINUTES: SHORT });
  expect({ code, last }).toEqual({ code: 1, last: "2 passed, 1 failed, 1 skipped" });
  expect(output).toContain("not done after 0.15 minutes");
  await untilGone(HUNG);
});

test("two rooms run at a time, or as many as is said", () => {
  const rooms = ["packages/ping", "packages/pong"];
  expect(run(rooms).last).toBe("2 passed, 0 failed");
  for (const name of ["ping", "pong"]) rmSync(join(root, `began-${name}`));
  const alone = run(rooms, { WEFT_TEST_LANES: "1", WEFT_TEST_MINUTES: SHORT });
  expect(alone.last).toBe("1 passed, 1 failed");
  expect(alone.output).toContain("packages/ping/: not done after 0.15 minutes");
});

test("what a room leaves behind does not outlive it", async () => {
  expect(run(["packages/left"]).last).toBe("1 passed, 0 failed");
  await untilGone(LEFT);
});

test("an interrupt ends what runs", async () => {
  const child = Bun.spawn([process.execPath, "run", join(root, "scripts/test.ts"), "packages/hung"], {
    stdin: "ignore",
    stdout: "pipe",
  });
  while (count(HUNG) === 0) await Bun.sleep(20);
  child.kill("SIGINT");
  expect(await child.exited).toBe(130);
  expect(await child.stdout.text()).toContain("interrupted by SIGINT");
  await untilGone(HUNG);
});

test("a report that was cut off is none", () => {
  const whole =
    '<testsuites name="bun" tests="5" assertions="9" failures="1" skipped="2" time="1">\n</testsuites>\n';
  expect(parseReport(whole)).toEqual({ passed: 2, failed: 1, skipped: 2 });
  for (const text of [
    "",
    whole.slice(0, -15),
    whole.replace(' tests="5"', ""),
    whole.replace('"5"', '"1"'),
  ]) {
    expect(parseReport(text)).toBeUndefined();
  }
});

test("failures of a report: groups, marks, and those that say nothing", () => {
  const report = [
    '<testsuites name="bun test" tests="4" failures="3" skipped="0">',
    '<testcase name="a &quot;b&quot;" classname="c &amp; &lt;d&gt;" file="x.test.ts" line="2">',
    '<failure type="Error" message="no">Error: no&#10;      at x.test.ts:2:71&#10;</failure></testcase>',
    '<testcase name="good" file="x.test.ts" line="5" />',
    '<testcase name="slow" classname="" file="x.test.ts" line="3"><failure type="TimeoutError" message="test timed out" />',
    '</testcase><testcase name="(unnamed)" file="x.test.ts"><failure /></testcase></testsuites>',
  ].join("\n");
  expect(parseFailures(report)).toEqual([
    { title: 'c & <d> > a "b"', place: "x.test.ts:2", said: "Error: no\n      at x.test.ts:2:71" },
    { title: "slow", place: "x.test.ts:3", said: "test timed out" },
    { title: "(unnamed)", place: "x.test.ts", said: "" },
  ]);
});
