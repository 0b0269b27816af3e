import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { FakeClock, isBusy, systemClock } from "@weft/base";
import { openOwnNetns } from "@weft/kernel/netns";
import { withLock } from "./lock.ts";
import { identify, isAlive, processesIn, signal, terminate, waitGone } from "./processes.ts";
import { LAB_DIRECTORY } from "./state.ts";
import { KeepRunning } from "./supervisor/keep-running.ts";
import { Backoff, Limit, pause } from "./supervisor/wait.ts";

const scratch = mkdtempSync("/tmp/weft-lab-processes-");
const own = openOwnNetns();
afterAll(() => {
  own.close();
  rmSync(scratch, { recursive: true });
});
const until = async (look: () => boolean): Promise<void> => {
  for (let i = 0; i < 3000 && !look(); i++) await Bun.sleep(10);
  expect(look()).toBe(true);
};

describe("processes", () => {
  test("a pid with another start time is another process", async () => {
    const child = Bun.spawn(["sleep", "100"]);
    const p = identify(child.pid)!;
    expect(isAlive(p)).toBe(true);
    const another = { pid: p.pid, startTime: "1" };
    expect(isAlive(another)).toBe(false);
    signal(another, "SIGKILL");
    await Bun.sleep(20);
    expect(child.exitCode).toBeNull();
    await terminate([p], 1000);
    expect(isAlive(p)).toBe(false);
    expect(identify(p.pid)).toBeUndefined();
  });

  test("who ignores SIGTERM is killed", async () => {
    const child = Bun.spawn(["bash", "-c", "trap '' TERM; echo; while :; do sleep 1; done"], {
      stdout: "pipe",
    });
    await child.stdout.getReader().read();
    const p = identify(child.pid)!;
    signal(p, "SIGTERM");
    expect(await waitGone([p], 50)).toBe(false);
    await terminate([p], 50);
    await child.exited;
    expect(String(child.signalCode)).toBe("SIGKILL");
  });

  test("nobody in the machine's own namespace is ever found", () => {
    expect(processesIn(new Set([own.identity]))).toEqual([]);
  });
});

describe("keeping a command running", () => {
  const command = (script: string, log: string) => ({
    argv: ["bash", "-c", script],
    environment: { PATH: process.env["PATH"] },
    namespace: own,
    log: `${scratch}/${log}`,
  });

  test("what it started ends with it, and it comes back", async () => {
    const keeper = new KeepRunning(command("sleep 1000 & echo $!; wait", "group"), {
      clock: systemClock,
      changed: () => {},
    });
    keeper.start();
    const pids = (): number[] => readFileSync(`${scratch}/group`, "utf8").trim().split("\n").map(Number);
    await until(() => keeper.process !== undefined && (pids()[0] ?? 0) > 0);
    const sleeper = identify(pids()[0]!)!;
    signal(keeper.process!, "SIGKILL");
    await until(() => keeper.restarts === 1 && keeper.process !== undefined && pids().length === 2);
    await until(() => !isAlive(sleeper));
    const second = identify(pids()[1]!)!;
    expect(keeper.lastExit).toBe("signal SIGKILL");
    await keeper.stop(500);
    await until(() => !isAlive(second) && keeper.process === undefined);
  });

  test("waits longer each time, and says what cannot be started", async () => {
    const clock = new FakeClock();
    const keeper = new KeepRunning(
      { ...command("", "none"), argv: ["/no/such/program"] },
      { clock, changed: () => {} },
    );
    keeper.start();
    expect(keeper.startError).toContain("cannot start /no/such/program");
    expect(keeper.restarts).toBe(0);
    await keeper.stop(0);
    const backoff = new Backoff();
    expect(Array.from({ length: 8 }, () => backoff.next())).toEqual([
      200, 400, 800, 1600, 3200, 6400, 10000, 10000,
    ]);
    backoff.reset();
    expect(backoff.next()).toBe(200);
  });
});

describe("waiting", () => {
  test("a pause ends early when aborted", async () => {
    const clock = new FakeClock();
    const stop = new AbortController();
    const long = pause(clock, 1000, stop.signal);
    clock.advance(1000);
    expect(await long).toBe(true);
    const second = pause(clock, 1000, stop.signal);
    stop.abort();
    expect(await second).toBe(false);
    expect(await pause(clock, 1000, stop.signal)).toBe(false);
  });

  test("a limit is kept, also when something fails", async () => {
    const limit = new Limit(2);
    let now = 0;
    let most = 0;
    const work = (i: number) => async () => {
      most = Math.max(most, ++now);
      await Bun.sleep(1);
      now--;
      if (i % 3 === 0) throw new Error("x");
    };
    const results = await Promise.allSettled(Array.from({ length: 12 }, (_, i) => limit.run(work(i))));
    expect(results.filter((r) => r.status === "rejected")).toHaveLength(4);
    expect(most).toBe(2);
  });
});

describe("the lock", () => {
  const lab = `t-lk${process.pid}`;
  test("is held by one, and taken over from the dead", async () => {
    await withLock(lab, async () => {
      const second = await withLock(lab, async () => {}).catch((e: unknown) => e);
      expect(isBusy(second)).toBe(true);
      expect(String(second)).toContain(`process ${process.pid}`);
    });
    await Bun.write(`${LAB_DIRECTORY}/${lab}.lock`, JSON.stringify({ pid: process.pid, startTime: "1" }));
    expect(await withLock(lab, async () => 7)).toBe(7);
    expect(await Bun.file(`${LAB_DIRECTORY}/${lab}.lock`).exists()).toBe(false);
  });
});
