/** weft ipam as it is called, against an API server in memory and agents that answer from a table. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type IpAddress, parsePrefix } from "@weft/base";
import { FakeApi, serveApi, writeKubeconfig } from "@weft/cluster/client/testing";
import type { NodeAddresses } from "@weft/model";

const OLD = "2026-01-01T00:00:00Z";
const ORIGIN = {
  node: "n1",
  pod: "shop/web-1",
  podUid: "uid-web-1",
  containerId: "3f2a9c01b7de4455",
  interface: "eth0",
  since: Date.parse(OLD),
};
const LEDGER: NodeAddresses = {
  node: "n1",
  at: 0,
  ranges: [
    {
      prefix: parsePrefix("10.244.1.0/24"),
      pool: undefined,
      lentFrom: undefined,
      state: "open",
      used: 210,
      size: 254,
      lent: 0,
      left: 7000,
    },
  ],
  leases: [
    {
      address: "10.244.1.5" as IpAddress,
      id: "3f2a9c01b7de4455/eth0",
      origin: ORIGIN,
      state: "ready",
      hostLink: "weft0",
      namespacePath: "/run/netns/x",
    },
  ],
  held: [],
  former: [
    {
      address: "10.244.1.9" as IpAddress,
      origin: { ...ORIGIN, pod: "shop/old-1" },
      until: Date.parse(OLD) + 1000,
      why: "its network namespace is gone",
    },
  ],
  findings: [],
};

let directory: string;
let kubeconfig: string;
const stops: (() => unknown)[] = [];
const released: unknown[] = [];
const api = new FakeApi();
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "weft-t-ipam-"));
  const { url, stop } = await serveApi(api);
  stops.push(stop);
  kubeconfig = writeKubeconfig(join(directory, "kubeconfig"), url);
  const group = "/apis/weft.network/v1alpha1";
  api.put("/api/v1/nodes", {
    metadata: { name: "n1" },
    spec: { podCIDRs: ["10.244.1.0/24", "fd00:1::/64"] },
  });
  for (const [name, ip] of [
    ["web-1", "10.244.1.5"],
    ["db-1", "10.5.0.3"],
  ] as const) {
    api.put("/api/v1/pods", {
      metadata: { name, namespace: "shop", uid: `uid-${name}`, creationTimestamp: OLD },
      spec: { nodeName: "n1" },
      status: { phase: "Running", podIPs: [{ ip }] },
    });
  }
  api.put("/api/v1/pods", {
    metadata: {
      name: "weft-agent-x",
      namespace: "weft-system",
      labels: { "app.kubernetes.io/name": "weft", "app.kubernetes.io/component": "agent" },
    },
    spec: { nodeName: "n1", hostNetwork: true },
  });
  api.put(`${group}/ippools`, {
    metadata: { name: "db", uid: "pu", creationTimestamp: OLD },
    spec: { cidr: "10.5.0.0/24" },
    status: {
      cidr: "10.5.0.0/24",
      blockSize: 26,
      full: "never",
      conditions: [{ type: "Ready", status: "True" }],
    },
  });
  api.put(`${group}/ipblocks`, {
    metadata: { name: "10-5-0-0-26", uid: "b1" },
    spec: { cidr: "10.5.0.0/26", pool: "db", poolUID: "pu", node: "n1", tunnelAddress: "10.5.0.1" },
    status: {
      allocations: [{ address: "10.5.0.3", pod: "shop/db-1", podUID: "uid-db-1", since: OLD }],
      reported: "2026-02-01T00:00:00Z",
    },
  });
  const socket = join(directory, "agent.sock");
  const server = Bun.serve({
    unix: socket,
    async fetch(request) {
      if (request.method === "GET") return Response.json(LEDGER);
      const body = (await request.json()) as { what: string; force: boolean };
      released.push(body);
      const about = { id: "3f2a9c01b7de4455/eth0", addresses: ["10.244.1.5"], origin: ORIGIN };
      const meant = body.what === "10.244.1.5";
      return Response.json({
        node: "n1",
        released: meant && body.force ? [about] : [],
        refused: meant && !body.force ? [{ ...about, why: "processes of its sandbox live" }] : [],
      });
    },
  });
  stops.push(() => server.stop(true));
});
afterAll(async () => {
  for (const stop of stops) await stop();
  rmSync(directory, { recursive: true, force: true });
});

async function weft(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  const { KUBECONFIG: _, ...environment } = process.env;
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "main.ts"), ...words], {
    env: { ...environment, NO_COLOR: "1", COLUMNS: "200", HOME: directory },
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.exited;
  return { code: child.exitCode ?? -1, out, err };
}
const byApi = (...words: string[]) => weft("ipam", ...words, "--kubeconfig", kubeconfig);
const byAgent = (...words: string[]) => weft("ipam", ...words, "--socket", join(directory, "agent.sock"));

describe("show", () => {
  test("use of pools and nodes, by the API", async () => {
    const { code, out } = await byApi("show");
    expect(code).toBe(0);
    expect(out).toMatch(/^db +10\.5\.0\.0\/24 +2 +254 +0% +1 +1 +0 +never +n1 2\/63 +ready$/m);
    expect(out).toMatch(/^n1 +10\.244\.1\.0\/24 +1 +254 +0% +- +pods' statuses$/m);
    expect(out).toMatch(/^n1 +fd00:1::\/64 +0 +2\^20\+ /m);
  });

  test("use of a node's own range, by its agent, with when it will be full", async () => {
    const { out } = await byAgent("show");
    expect(out).toMatch(/^n1 +10\.244\.1\.0\/24 +210 +254 +82% +in 117 min +its agent$/m);
    expect(out).not.toContain("POOL");
  });

  test("who has an address, and who had it", async () => {
    const now = await byAgent("show", "10.244.1.5");
    expect(now.out).toContain("10.244.1.5: in use, of 10.244.1.0/24, which is node n1's");
    expect(now.out).toMatch(
      /^10\.244\.1\.5 +shop\/web-1 +n1 +ready +\d+d ago +3f2a9c01b7de +10\.244\.1\.0\/24/m,
    );
    const before = await byAgent("show", "10.244.1.9");
    expect(before.out).toContain("10.244.1.9: nobody has it");
    expect(before.out).toMatch(/shop\/old-1 .*its network namespace is gone$/m);
    const pool = await byApi("show", "db");
    expect(pool.out).toContain("pool db: 2 addresses in use");
    expect(pool.out).toContain("block 10.5.0.0/26 of pool db: node n1; end of its tunnels 10.5.0.1");
    const json = JSON.parse((await byApi("show", "shop/db-1", "--json")).out) as {
      holdings: { by: string }[];
    };
    expect(json.holdings.map((h) => h.by).sort()).toEqual(["IPBlock", "Pod"]);
  });

  test("what is not there is told, and so is nobody who answers", async () => {
    const nothing = await byApi("show", "nothing");
    expect([nothing.code, nothing.err]).toEqual([
      1,
      expect.stringContaining('nothing is known of "nothing"'),
    ]);
    const nobody = await weft("ipam", "show", "--socket", join(directory, "none.sock"));
    expect(nobody.code).toBe(3);
  });
});

describe("check", () => {
  test("0 when all fits together, 1 with what does not, 2 when nobody answers", async () => {
    const good = await byApi("check");
    expect([good.code, good.out]).toEqual([
      0,
      expect.stringContaining("everything fits together: 3 pods, 1 nodes"),
    ]);
    api.put("/api/v1/pods", {
      metadata: { name: "twin", namespace: "shop", uid: "t", creationTimestamp: OLD },
      spec: { nodeName: "n1" },
      status: { phase: "Running", podIPs: [{ ip: "10.244.1.5" }] },
    });
    const bad = await byApi("check", "--json");
    expect(bad.code).toBe(1);
    const { findings } = JSON.parse(bad.out) as { findings: { code: string; message: string }[] };
    expect(findings).toMatchObject([{ code: "address-twice" }]);
    expect(findings[0]?.message).toContain("shop/twin");
    expect((await byApi("check")).out).toContain("! address 10.244.1.5: ");
    api.delete("/api/v1/pods", "twin", "shop");
    const nobody = await weft("ipam", "check", "--socket", join(directory, "none.sock"));
    expect(nobody.code).toBe(2);
  });
});

describe("release", () => {
  test("by the agent: refused while it lives, with its reason; forced", async () => {
    const refused = await byAgent("release", "10.244.1.5");
    expect(refused.code).toBe(1);
    expect(refused.out).toContain("n1: not released: 10.244.1.5: processes of its sandbox live");
    expect(refused.out).toContain("--force");
    const forced = await byAgent("release", "10.244.1.5", "--force");
    expect([forced.code, forced.out]).toEqual([0, "n1: 10.244.1.5 of shop/web-1 is free\n"]);
    expect(released).toEqual([
      { what: "10.244.1.5", force: false },
      { what: "10.244.1.5", force: true },
    ]);
    const unknown = await byAgent("release", "10.9.9.9");
    expect([unknown.code, unknown.err]).toEqual([1, expect.stringContaining('has "10.9.9.9"')]);
  });

  test("from elsewhere: where to run it", async () => {
    const { code, err } = await byApi("release", "shop/web-1", "--force");
    expect(code).toBe(1);
    expect(err).toContain("is node n1's");
    expect(err).toContain("kubectl -n weft-system exec weft-agent-x -- weft ipam release shop/web-1 --force");
  });
});
