/** The lab as it comes: up, proven, seen, down, and nothing left. */
import { expect, test } from "bun:test";
import { Lab } from "./harness/lab.ts";
import { footprint, remains } from "./harness/remains.ts";
import { measured, useWeft, weft } from "./harness/weft.ts";

useWeft();
const lab = new Lab();

test("comes up", async () => {
  const done = await lab.up();
  expect(done.stderr).toBe("");
  expect(done.code).toBe(0);
  expect(done.stdout).toContain(`lab "${lab.name}" is ready`);
  measured("lab up, 3 nodes and 8 pods", done.ms);
}, 240_000);

test("keeps the network model", async () => {
  const { code, report } = await lab.check();
  expect(code).toBe(0);
  const { ok, setupErrors, failures, drift, foreignChains, barePackets, pairs } = report;
  expect({ ok, setupErrors, failures, drift, foreignChains }).toEqual({
    ok: true,
    setupErrors: [],
    failures: [],
    drift: [],
    foreignChains: [],
  });
  expect(report.endpoints.map((e) => e.kind).sort()).toEqual([
    "host-pod",
    ...Array(3).fill("node"),
    ...Array(7).fill("pod"),
  ]);
  expect(pairs).toMatchObject({ tested: 121, total: 121, sampled: false });
  expect(barePackets).toEqual([
    { name: "spine IPv4", packets: 0 },
    { name: "spine IPv6", packets: 0 },
  ]);
  const words = await weft("check", "--lab", lab.name);
  expect(words.code).toBe(0);
  expect(words.stdout).toContain("Network model: ok (121 pairs tested");
});

test("says how it is", async () => {
  const status = await lab.status();
  expect(status.code).toBe(0);
  expect(status.stdout).not.toContain("!");
  const paths = (await lab.agents()).flatMap((a) => a.peers.map((p) => `${a.node} ${p.node} ${p.backend}`));
  expect([...new Set(paths)].sort()).toEqual([
    "node1 node2 direct",
    "node1 node3 vxlan",
    "node2 node1 direct",
    "node2 node3 vxlan",
    "node3 node1 vxlan",
    "node3 node2 vxlan",
  ]);
  const own = await weft("lab", "status", "--name", lab.name);
  expect(own.code).toBe(0);
  const rows = await weft("status", "--lab", lab.name, "--rows");
  expect(rows.stdout).toMatch(
    /node1 +route +10\.244\.3\.0\/24 table 254 metric \d+ +done +Node node3 spec\.podCIDRs\[0\]/,
  );
});

test("a second up is content, other options are refused", async () => {
  const again = await lab.up();
  expect(again.code).toBe(0);
  expect(again.stdout).toContain(`lab "${lab.name}" is up already`);
  const other = await lab.up("--nodes", "4");
  expect(other.code).toBe(1);
  expect(other.stderr).toContain("nodes is 3, not 4");
  expect(other.stderr).toContain(`weft lab down --name ${lab.name}`);
  const wrong = await lab.up("--nodes", "none");
  expect(wrong.code).toBe(2);
  expect((await lab.check()).code).toBe(0);
});

test("goes down without a trace", async () => {
  const before = footprint(lab.name);
  expect(before.processes.length).toBeGreaterThan(10);
  expect(before.namespaces).toBe(14);
  const done = await lab.down();
  expect(done.code).toBe(0);
  expect(done.stdout).toContain("14 namespaces");
  expect(await remains(before)).toEqual([]);
  measured("lab down", done.ms);

  const again = await lab.down();
  expect(again.code).toBe(0);
  expect(again.stdout).toContain("nothing to remove");
  expect((await weft("lab", "status", "--name", lab.name)).code).toBe(3);
  const check = await weft("check", "--lab", lab.name);
  expect(check.code).toBe(1);
  expect(check.stderr).toContain(`there is no lab "${lab.name}"`);
});
