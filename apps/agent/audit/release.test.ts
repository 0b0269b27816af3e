/** Who may be released by hand, and who stays. */
import { expect, test } from "bun:test";
import { parseIp } from "@weft/base";
import type { Ledger, LedgerEntry } from "@weft/ipam";
import type { Workload } from "@weft/model";
import { KnownPods } from "../known-pods.ts";
import { workload } from "../testing/workload.ts";
import { release } from "./release.ts";

const NOW = 1_000_000;
const entry = (id: string, address: string, more: Partial<Workload> = {}): LedgerEntry => ({
  state: "ready",
  workload: workload(id, `/run/netns/${id}`, {
    podName: id,
    podUid: `uid-${id}`,
    addresses: [parseIp(address)],
    ...more,
  }),
});

interface World {
  readonly entries?: readonly LedgerEntry[];
  readonly stands?: boolean;
  readonly lives?: boolean | undefined;
  /** Names of pods that the API has; undefined while it is away. */
  readonly pods?: readonly string[];
}

async function run(what: string, { stands = true, lives, pods, ...w }: World, force = false) {
  const entries = w.entries ?? [entry("container-a", "10.0.0.1")];
  const held = [
    { address: parseIp("10.0.0.7"), block: "10.0.0.0/26", loan: "l", node: "n2", pod: "shop/x", since: 1 },
    {
      address: parseIp("10.0.0.2"),
      block: "10.0.0.0/26",
      loan: undefined,
      node: "n1",
      pod: undefined,
      since: 1,
    },
  ];
  const gone: string[] = [];
  const known = new KnownPods();
  known.take(
    (pods ?? []).map((name) => ({ namespace: "shop", name, uid: `uid-${name}` })),
    pods !== undefined,
  );
  const answer = await release(
    { what, force },
    {
      node: "n1",
      ledger: { workloads: () => entries, pools: { held: () => held } } as unknown as Ledger,
      known,
      namespaceStands: () => stands,
      reclaim: async (id) => gone.push(id) > 0,
      now: () => NOW,
      grace: 60_000,
      look: () => (lives === undefined ? undefined : { lives: () => lives }),
    },
  );
  return { gone, why: answer.refused.map((r) => r.why) };
}

const A = "container-a/eth0";

test("what has no namespace, and what has nothing in it and no pod, is free at once", async () => {
  for (const world of [
    { stands: false },
    { stands: false, lives: true, pods: ["container-a"] },
    { lives: false, pods: [] },
    { lives: false },
  ])
    expect(await run("10.0.0.1", world)).toEqual({ gone: [A], why: [] });
});

test("what lives, may live, or is starting stays, and it is said why; force takes it all the same", async () => {
  const cases: readonly [World, string][] = [
    [{ lives: true, pods: [] }, "processes of its sandbox live"],
    [{ pods: [] }, "cannot see whether"],
    [{ lives: false, pods: ["container-a"] }, "the API server has that pod"],
    [
      { lives: false, pods: [], entries: [entry("container-a", "10.0.0.1", { since: NOW - 5000 })] },
      "for 5 s only",
    ],
  ];
  for (const [world, text] of cases) {
    const { gone, why } = await run("10.0.0.1", world);
    expect([gone, why]).toEqual([[], [expect.stringContaining(text)]]);
    expect(await run("10.0.0.1", world, true)).toEqual({ gone: [A], why: [] });
  }
});

test("meant by address, pod, attachment or container, but by no beginning that could be several", async () => {
  const entries = [
    entry("container-a", "10.0.0.1"),
    entry("container-b", "10.0.0.3"),
    entry("container-b", "fd00::3", { id: "container-b/net1", interface: "net1" }),
  ];
  const world = { entries, stands: false };
  const gone = async (what: string): Promise<string[]> => (await run(what, world)).gone;
  const B = ["container-b/eth0", "container-b/net1"];
  expect(await gone("10.0.0.3")).toEqual(["container-b/eth0"]);
  expect(await gone("fd00:0::3")).toEqual(["container-b/net1"]);
  expect(await gone("shop/container-b")).toEqual(B);
  expect(await gone("container-b")).toEqual(B);
  expect(await gone("container-b/net1")).toEqual(["container-b/net1"]);
  expect(await gone("container-")).toEqual([]);
  expect(await gone("contain")).toEqual([]);
  expect(await gone("10.0.0.9")).toEqual([]);
  const one = { entries: entries.slice(0, 1), stands: false };
  expect((await run("container", one)).gone).toEqual([A]);
});

test("what is on loan, or the end of a tunnel, is not this node's to free", async () => {
  expect((await run("10.0.0.7", {}, true)).why[0]).toContain("on loan to node n2 for pod shop/x");
  expect((await run("10.0.0.2", {}, true)).why[0]).toContain("end of the tunnels");
});
