/** What is interrupted, killed or doubled. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { identify } from "../processes.ts";
import { Lab } from "./harness/lab.ts";
import { footprint, remains } from "./harness/remains.ts";
import { failureTexts } from "./harness/report.ts";
import { ok, start, until, useWeft, WEFT, weft } from "./harness/weft.ts";

useWeft();

test("two labs at once do not see one another", async () => {
  const [one, two] = [new Lab(), new Lab("--nodes", "2", "--backend", "vxlan")];
  const ups = await Promise.all([one.up(), two.up()]);
  expect(ups.map((u) => u.code)).toEqual([0, 0]);
  const checks = await Promise.all([one.check(), two.check()]);
  expect(checks.map((c) => [c.code, failureTexts(c.report)])).toEqual([
    [0, []],
    [0, []],
  ]);
  const which = await weft("check");
  expect(which.code).toBe(3);
  expect(which.stderr).toContain("several labs are up: ");
  expect(which.stderr).toContain("Name one with --lab.");

  const before = footprint(one.name);
  ok(await one.down(), "weft lab down");
  expect(await remains(before)).toEqual([]);
  expect((await two.check()).code).toBe(0);
  ok(await two.down(), "weft lab down");
}, 240_000);

describe("Ctrl-C in the middle of up leaves nothing", () => {
  for (const stage of ["", "underlay: ", "agents: "]) {
    test(stage === "" ? "as soon as there is something" : `after "${stage.trim()}"`, async () => {
      const lab = new Lab();
      const up = start([WEFT, "lab", "up", "--name", lab.name]);
      let said = "";
      let signalled = false;
      let seen = footprint(lab.name);
      const interrupt = (): void => {
        signalled = true;
        seen = footprint(lab.name);
        up.kill("SIGINT");
      };
      if (stage === "") {
        const begun = (): boolean => existsSync(`/run/weft-lab/${lab.name}`);
        await until("something is made", 60_000, async () => begun(), undefined, 1);
        interrupt();
      }
      for await (const bytes of up.stdout) {
        said += Buffer.from(bytes).toString();
        if (!signalled && stage !== "" && said.includes(stage)) interrupt();
      }
      await up.exited;
      expect(said).toContain("stopping: what was made is removed");
      expect(said).not.toContain("is ready (");
      expect(up.exitCode).toBe(130);
      expect(await remains(seen)).toEqual([]);
    }, 120_000);
  }
});

test("a killed supervisor is replaced by the next up", async () => {
  const lab = new Lab();
  await lab.upOk();
  const before = await lab.condition();
  const old = footprint(lab.name);
  process.kill(before.supervisor.pid, "SIGKILL");
  await until("it is gone", 60_000, async () => identify(before.supervisor.pid) === undefined);
  const status = await weft("lab", "status", "--name", lab.name);
  expect(status.code).toBe(3);
  expect(status.stdout).toContain("its supervisor does not answer");
  // The network runs on without it.
  expect(await lab.sh("node1", "ip route")).toContain("dev weft-vxlan");

  await lab.upOk();
  const after = await lab.condition();
  expect(after.pods.map((p) => p.name)).toEqual(before.pods.map((p) => p.name));
  const { code, report } = await lab.check();
  expect(failureTexts(report)).toEqual([]);
  expect(report.drift).toEqual([]);
  expect(code).toBe(0);
  // Old pods have left no address behind.
  for (const agent of await lab.agents()) {
    expect(agent.blocks.map((b) => b.used)).toEqual(agent.blocks.map(() => agent.workloads.length));
  }
  const now = footprint(lab.name);
  const same = old.processes.filter((o) => now.processes.some((n) => n.pid === o.pid));
  expect(same).toEqual([]);
  ok(await lab.down(), "weft lab down");
  expect(await remains(now)).toEqual([]);
  expect(await remains(old)).toEqual([]);
}, 240_000);

test("a killed up is cleared by the next one", async () => {
  const lab = new Lab();
  const up = start([WEFT, "lab", "up", "--name", lab.name]);
  for await (const bytes of up.stdout) {
    if (Buffer.from(bytes).toString().includes("underlay: ")) up.kill("SIGKILL");
  }
  await up.exited;
  expect(up.signalCode).toBe("SIGKILL");
  await lab.upOk();
  expect((await lab.check()).code).toBe(0);
  const before = footprint(lab.name);
  ok(await lab.down(), "weft lab down");
  expect(await remains(before)).toEqual([]);
}, 240_000);
