/** One small run of a whole benchmark: what it says has the right form, and nothing of it stays. No time is judged. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listNamed } from "@weft/kernel/netns";
import type { Report } from "./report.ts";
import { PREFIX, SHARED_MEMORY } from "./session/stale.ts";

const ROOT = join(import.meta.dir, "..");
const WEFT = join(ROOT, "dist/weft");
const scalable = existsSync(WEFT) && process.getuid?.() === 0;
const ready = existsSync(WEFT) && existsSync("/usr/lib/cni/bridge") && process.getuid?.() === 0;
setDefaultTimeout(400_000);
const TITLE = "cni with few pods, both sides, and nothing left";

function run(...words: string[]) {
  return Bun.spawn([process.execPath, "run", "bench/run.ts", ...words, "--weft", WEFT], {
    cwd: ROOT,
    stdout: "pipe",
    stderr: "pipe",
  });
}

const leftovers = (pid: number): string[] =>
  [...listNamed(PREFIX), ...readdirSync(tmpdir()), ...readdirSync(SHARED_MEMORY)].filter((name) =>
    name.startsWith(`${PREFIX}${pid}-`),
  );

test.skipIf(!ready)(
  ready ? TITLE : `${TITLE}: needs root, dist/weft and Debian's reference plugins`,
  async () => {
    const child = run("cni", "--pods", "5", "--burst", "5", "--rounds", "1", "--json");
    const text = await new Response(child.stdout).text();
    const errors = await new Response(child.stderr).text();
    expect(await child.exited, errors).toBe(0);
    const [report] = JSON.parse(text) as [Report];
    expect(report.suite).toBe("cni");
    expect(report.peer).toContain("host-local");
    expect(report.command).toContain("--pods 5 --burst 5 --rounds 1");
    const names = report.figures.map((f) => f.name);
    for (const operation of ["ADD", "DEL"]) {
      for (const what of [
        "alone, p50",
        "alone, p99",
        "burst of 5, p50",
        "burst of 5, p99",
        "burst of 5, CPU of one",
      ]) {
        expect(names).toContain(`${operation} ${what}`);
      }
    }
    for (const figure of report.figures.filter((f) => f.unit === "ms" && !f.name.includes("CPU"))) {
      expect(figure.weft).toBeGreaterThan(0);
      if (figure.peer !== undefined) expect(figure.peer).toBeGreaterThan(0);
    }
    // Memory is looked at every few milliseconds: the shim can have come and gone between two looks.
    for (const figure of report.figures.filter((f) => f.unit === "MiB"))
      expect(figure.weft).toBeGreaterThanOrEqual(0);
    expect(leftovers(child.pid)).toEqual([]);
  },
);

const SCALE = "scale in little: the agent reads the simulated cluster, and nothing is left";

test.skipIf(!scalable)(
  scalable ? "ADDs with a pool and without" : "ADDs with a pool and without: needs root and dist/weft",
  async () => {
    const child = run("pools", "--pods", "3", "--burst", "3", "--rounds", "1", "--json");
    const text = await new Response(child.stdout).text();
    const errors = await new Response(child.stderr).text();
    expect(await child.exited, errors).toBe(0);
    const [report] = JSON.parse(text) as [Report];
    const figure = (name: string) => report.figures.find((f) => f.name === name);
    expect(figure("ADD burst of 3, p50")?.peer).toBeGreaterThan(0);
    expect(figure("blocks at the end")?.weft).toBe(1);
    expect(leftovers(child.pid)).toEqual([]);
  },
);

test.skipIf(!scalable)(scalable ? SCALE : `${SCALE}: needs root and dist/weft`, async () => {
  const child = run("scale", "--nodes", "5", "--rounds", "2", "--seconds", "1", "--json");
  const text = await new Response(child.stdout).text();
  const errors = await new Response(child.stderr).text();
  expect(await child.exited, errors).toBe(0);
  const [report] = JSON.parse(text) as [Report];
  expect(report.suite).toBe("scale");
  const figure = (name: string): number => report.figures.find((f) => f.name === name)?.weft ?? Number.NaN;
  expect(figure("nothing changes, RSS")).toBeGreaterThan(1);
  expect(figure("node added, to its route in the kernel, p50")).toBeGreaterThan(0);
  // Four rows for each peer, and what the node has of its own.
  expect(figure("rows of one node's plan")).toBeGreaterThanOrEqual(20);
  expect(report.notes.join("\n")).toContain(
    "asked for /api/v1/nodes and /api/v1/pods?fieldSelector=spec.nodeName=node-0",
  );
  expect(leftovers(child.pid)).toEqual([]);
});

test.skipIf(!ready)("an interrupted run leaves nothing", async () => {
  const child = run("cni", "--pods", "50", "--burst", "5");
  const reader = child.stderr.getReader();
  // It says so when both nodes and the agent stand.
  await reader.read();
  expect(leftovers(child.pid)).not.toEqual([]);
  child.kill("SIGINT");
  while (!(await reader.read()).done);
  expect(await child.exited).toBe(130);
  expect(leftovers(child.pid)).toEqual([]);
});

test("wrong words are refused before anything is made", async () => {
  const child = run("cni", "--pods", "none");
  expect(await child.exited).toBe(2);
  expect(await new Response(child.stderr).text()).toContain("--pods");
});

test("the executable must be there", async () => {
  const directory = mkdtempSync(join(tmpdir(), "weft-t-bench-"));
  try {
    const child = Bun.spawn(
      [process.execPath, "run", "bench/run.ts", "cni", "--weft", join(directory, "no")],
      {
        cwd: ROOT,
        stdout: "pipe",
        stderr: "pipe",
      },
    );
    expect(await child.exited).toBe(1);
    expect(await new Response(child.stderr).text()).toContain("scripts/build.ts");
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
