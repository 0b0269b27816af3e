/** Every shape of lab keeps the network model, or says why not. */
import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Lab } from "./harness/lab.ts";
import { expectedFailures, lossesOf } from "./harness/paths.ts";
import { failureTexts } from "./harness/report.ts";
import { measured, newDirectory, ok, useWeft } from "./harness/weft.ts";

useWeft();
const FAMILIES = ["ipv4", "ipv6", "dual"];

async function holds(lab: Lab, nodes: number): Promise<void> {
  await lab.upOk();
  const { code, report } = await lab.check();
  expect(failureTexts(report)).toEqual([]);
  expect(report.setupErrors).toEqual([]);
  expect(report.barePackets.map((c) => c.packets)).toEqual([0, 0]);
  expect(report.drift).toEqual([]);
  expect(code).toBe(0);
  expect(report.endpoints.filter((e) => e.kind === "node")).toHaveLength(nodes);
  ok(await lab.status(), "weft status");
  await nodesReachPods(lab, nodes);
  ok(await lab.down(), "weft lab down");
}

/**
 * Of a node that has no address of the pods' family the check does not ask this, but kubelet would: it sends from
 * the tunnel's address then.
 */
async function nodesReachPods(lab: Lab, nodes: number): Promise<void> {
  const { pods } = await lab.condition();
  const addresses = pods.filter((p) => !p.hostNetwork).flatMap((p) => p.podIPs);
  const line = addresses.map((ip) => `ping -c 1 -W 20 ${ip} >/dev/null || echo ${ip}`).join("; ");
  for (let node = 1; node <= nodes; node++) expect(await lab.sh(`node${node}`, line)).toBe("");
}

describe("3 nodes in 2 racks", () => {
  for (const pods of FAMILIES) {
    for (const underlay of FAMILIES) {
      for (const backend of ["auto", "vxlan"]) {
        test(`pods ${pods}, underlay ${underlay}, backend ${backend}`, async () => {
          await holds(new Lab("--pods", pods, "--underlay", underlay, "--backend", backend), 3);
        }, 240_000);
      }
    }
  }
});

test("direct in one rack, with no tunnel and the whole MTU", async () => {
  const lab = new Lab("--backend", "direct", "--racks", "1");
  await lab.upOk();
  const agents = await lab.agents();
  expect(agents.map((a) => a.context?.podMtu)).toEqual([1500, 1500, 1500]);
  expect(await lab.sh("node1", "ip -br link")).not.toContain("weft-vxlan");
  await holds(lab, 3);
}, 240_000);

test("direct between racks is refused with a reason", async () => {
  const lab = new Lab("--backend", "direct");
  await lab.upOk();
  const status = await lab.status();
  expect(status.code).toBe(1);
  expect(status.stdout).toContain(
    "! node1: block 10.244.3.0/24 of node node3 cannot be reached directly: 198.18.2.11 is not on the subnet of 198.18.1.11/24 (Node node3 spec.podCIDRs[0]). Set backend to auto or vxlan.",
  );
  const { code, report } = await lab.check();
  expect(code).toBe(1);
  const { tunnel } = lossesOf(lab.topology);
  const far = [tunnel("node1", "node3"), tunnel("node2", "node3")];
  expect(failureTexts(report)).toEqual(expectedFailures(report, [4, 6], ["tcp", "udp"], ...far));
  const toPods = report.failures.filter((f) => f.from === "node1" && f.to.startsWith("default/"));
  for (const { message } of toPods) expect(message).toContain("UNREACH");
}, 240_000);

test("one node", async () => {
  await holds(new Lab("--nodes", "1"), 1);
}, 240_000);

test("a hostile firewall is found and named", async () => {
  const lab = new Lab("--hostile", "forward-drop");
  await lab.upOk();
  const { code, report } = await lab.check();
  expect(code).toBe(1);
  const { forwarding } = lossesOf(lab.topology);
  const all = ["node1", "node2", "node3"];
  expect(failureTexts(report)).toEqual(
    expectedFailures(report, [4, 6], ["tcp", "udp"], ...all.map(forwarding)),
  );
  expect(report.foreignChains.map((c) => `${c.node} ${c.table}`)).toEqual(
    all.map((node) => `${node} hostile_firewall`),
  );
  const { stdout } = await lab.status();
  for (const node of all) expect(stdout).toContain(`! ${node}: table inet hostile_firewall, chain forward`);
}, 240_000);

test("20 nodes in 4 racks with 40 pods", async () => {
  const manifests = newDirectory("forty");
  const pod = (i: number): string =>
    `apiVersion: v1\nkind: Pod\nmetadata: {name: p${i}}\nspec: {containers: [{name: main, image: weft/pause}]}\n`;
  writeFileSync(join(manifests, "pods.yaml"), Array.from({ length: 40 }, (_, i) => pod(i)).join("---\n"));
  const lab = new Lab("--nodes", "20", "--racks", "4", "--manifests", manifests);
  measured("lab up, 20 nodes and 40 pods", await lab.upOk());

  const whole = await lab.check();
  expect(failureTexts(whole.report)).toEqual([]);
  expect(whole.code).toBe(0);
  expect(whole.report.pairs).toEqual(expect.objectContaining({ tested: 3600, total: 3600, sampled: false }));
  const sample = await lab.check("--max-pairs", "500");
  expect(sample.code).toBe(0);
  expect(sample.report.pairs).toEqual(expect.objectContaining({ tested: 500, total: 3600, sampled: true }));

  const { nodes, supervisor } = await lab.condition();
  const memory = nodes.map((n) => proportionalMemory(n.pid!));
  const sum = memory.reduce((a, b) => a + b, 0);
  console.log(
    `measured: memory of 20 agents: ${mebibytes(sum)} in all, ${mebibytes(Math.max(...memory))} at most; ` +
      `supervisor ${mebibytes(proportionalMemory(supervisor.pid))}`,
  );
  const down = await lab.down();
  measured("lab down, 20 nodes", down.ms);
}, 240_000);

const mebibytes = (bytes: number): string => `${Math.round(bytes / 1_048_576)} MiB`;

/** Bytes of a process, those that it shares divided among the sharers (proc_pid_smaps_rollup). */
function proportionalMemory(pid: number): number {
  const line = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"));
  return Number(line?.[1]) * 1024;
}
