/** What a runtime leaves behind on a node of a lab comes back, and whoever has no address is told why. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import {
  type ApiClient,
  createClient,
  createObject,
  EVENTS,
  IP_POOLS,
  type KubernetesObject,
  loadCredentials,
  PODS,
  pathOf,
} from "@weft/cluster/client";
import { Lab } from "./harness/lab.ts";
import { newDirectory, until, useWeft } from "./harness/weft.ts";

useWeft();
let lab: Lab;
let client: ApiClient;

beforeAll(async () => {
  lab = new Lab("--manifests", newDirectory("empty"), "--nodes", "1");
  await lab.upOk();
  client = createClient({ credentials: loadCredentials({ path: `/run/weft-lab/${lab.name}/kubeconfig` }) });
}, 180_000);
afterAll(() => client?.close());

interface EventObject extends KubernetesObject {
  readonly reason: string;
  readonly note: string;
  readonly regarding: { readonly kind: string; readonly name: string };
}
const eventOn = async (name: string, reason: string): Promise<string | undefined> => {
  const { items } = await client.request<{ items: readonly EventObject[] }>({ path: pathOf(EVENTS) });
  return items.find((e) => e.reason === reason && e.regarding.name === name)?.note;
};

test("a sandbox that nobody knows and in which nothing lives is taken back after the grace, with an event", async () => {
  const settings = `/run/weft-lab/${lab.name}/settings.yaml`;
  writeFileSync(settings, `${readFileSync(settings, "utf8")}ipam: { leakGrace: 10s }\n`);
  const root = `/run/weft-lab/${lab.name}/nodes/node1`;
  const namespace = `weft-${lab.name}-pod-leak`;
  const list = JSON.parse(readFileSync(`${root}/etc/cni/net.d/10-weft.conflist`, "utf8"));
  const configuration = { ...list.plugins[0], name: list.name, cniVersion: "1.0.0" };
  expect(Bun.spawnSync(["ip", "netns", "add", namespace]).exitCode).toBe(0);
  // A pod that was deleted while its runtime was down.
  const pod = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=old;K8S_POD_UID=uid-old";
  const words = [
    "CNI_COMMAND=ADD CNI_CONTAINERID=leak CNI_IFNAME=eth0",
    `CNI_NETNS=/run/netns/${namespace} CNI_PATH=${root}/opt/cni/bin CNI_ARGS='IgnoreUnknown=1;${pod}'`,
    `${root}/opt/cni/bin/weft <<<'${JSON.stringify(configuration)}'`,
  ];
  const { ips } = JSON.parse(await lab.sh("node1", words.join(" "))) as { ips: { address: string }[] };
  const [address = ""] = ips.map((ip) => ip.address.split("/")[0] as string);
  const held = async (): Promise<boolean> =>
    (await lab.agent("node1")).workloads.some((w) => w.addresses.some((a) => a === address));
  expect(await held()).toBe(true);
  await until("the address is back", 90_000, async () => !(await held()));
  const note = await until("an event", 60_000, () => eventOn("old", "AddressReclaimed"));
  for (const part of [address, "pod default/old", "node node1", "the API has no such pod"])
    expect(note).toContain(part);
  await until("nothing is left to say", 60_000, async () => {
    return (await lab.agent("node1")).audit?.findings.length === 0;
  });
}, 180_000);

test("why a pod has no address is told with what to do about it", async () => {
  await createObject(client, IP_POOLS, { metadata: { name: "p" }, spec: { cidr: "10.200.0.0/26" } });
  await until("the agent knows it", 60_000, async () => (await lab.agent("node1")).pools?.enabled === true);
  await createObject(client, PODS, {
    metadata: { name: "lost", namespace: "default", annotations: { "weft.network/pools": "nowhere" } },
    spec: { containers: [{ name: "c", image: "weft/pause" }] },
  } as KubernetesObject);
  const note = await until("an event", 60_000, () => eventOn("lost", "FailedCreatePodSandBox"));
  expect(note).toContain("there is no pool nowhere; Correct the annotations");
}, 120_000);
