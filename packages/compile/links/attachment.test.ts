import { expect, test } from "bun:test";
import { linkLocalOf, macFromSeed, parseIp, parsePrefix } from "@weft/base";
import { type NodeContext, PLAN_KINDS, type PlanRowOf, planKey, type Workload } from "@weft/model";
import { attachmentRows, GATEWAY_MAC } from "./attachment.ts";

const mac = macFromSeed("pod a");
const context: NodeContext = {
  node: "n1",
  exclusive: false,
  blocks: [{ prefix: parsePrefix("10.244.1.0/24") }],
  sources: { 4: parseIp("198.18.1.11") },
  reserved: [],
  podMtu: 1450,
};
const workload = (...addresses: string[]): Workload => ({
  id: "abc/eth0",
  network: "weft",
  containerId: "abc",
  interface: "eth0",
  namespacePath: "/run/netns/a",
  namespaceIdentity: "4:1",
  podNamespace: "default",
  podName: "web",
  podUid: "uid-1",
  addresses: addresses.map(parseIp),
  hostPorts: [],
  mac,
  hostLink: "weft0000000000a",
  since: 0,
});
const of = <K extends string>(w: Workload, kind: K) =>
  attachmentRows(w, context).filter((row): row is PlanRowOf<K & "route"> => row.kind === kind);

test("each row names the pod, and no two are the same object", () => {
  const rows = attachmentRows(workload("10.244.1.5", "fd00:10:244:1::5"), context);
  const keys = rows.map((r) => `${r.kind} ${planKey(r)}`);
  expect(new Set(keys).size).toBe(keys.length);
  for (const { origin, kind } of rows) {
    expect(origin).toEqual({ kind: "Pod", namespace: "default", name: "web", uid: "uid-1" });
    expect(PLAN_KINDS).toContain(kind);
  }
  expect(rows.find((r) => r.kind === "attachment")).toMatchObject({
    alias: "pod default/web",
    hostMac: GATEWAY_MAC,
    mtu: 1450,
  });
});

test("it may send from its addresses, and with IPv6 from its link-local one", () => {
  const sources = (...ips: string[]) =>
    attachmentRows(workload(...ips), context).flatMap((r) =>
      r.kind === "allowed-source" ? [r.ip as string] : [],
    );
  expect(sources("10.244.1.5")).toEqual(["10.244.1.5"]);
  expect(sources("10.244.1.5", "fd00::5")).toEqual(["10.244.1.5", "fd00::5", linkLocalOf(mac)]);
});

test("its routes send from the node's address of the family; without one the kernel chooses", () => {
  const routes = of(workload("10.244.1.5", "fd00::5"), "route");
  expect(routes.map((r) => `${r.destination} ${r.source}`)).toEqual([
    "10.244.1.5/32 198.18.1.11",
    "fd00::5/128 undefined",
  ]);
});

test("a container that is no pod's is named by itself", () => {
  const { podNamespace: _, podName: __, podUid: ___, ...rest } = workload("10.244.1.5");
  const bare: Workload = { ...rest, podNamespace: undefined, podName: undefined, podUid: undefined };
  const row = attachmentRows(bare, context).find((r) => r.kind === "attachment");
  expect(row).toMatchObject({ alias: "container abc", origin: { kind: "Container", name: "abc" } });
});
