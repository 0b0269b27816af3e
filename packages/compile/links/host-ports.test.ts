import { expect, test } from "bun:test";
import { parseIp } from "@weft/base";
import { type HostPort, planKey, type Workload } from "@weft/model";
import { hostPortRows, unreachableHostPorts } from "./host-ports.ts";

const port = (hostIp: string | undefined, hostPort = 80, more: Partial<HostPort> = {}): HostPort => ({
  hostIp: hostIp === undefined ? undefined : parseIp(hostIp),
  hostPort,
  protocol: "tcp",
  containerPort: 8080,
  ...more,
});
const workload = (addresses: readonly string[], hostPorts: readonly HostPort[]): Workload => ({
  id: "abc/eth0",
  network: "weft",
  containerId: "abc",
  interface: "eth0",
  namespacePath: "/run/netns/a",
  namespaceIdentity: "4:1",
  podNamespace: "default",
  podName: "web",
  podUid: undefined,
  addresses: addresses.map(parseIp),
  hostPorts,
  mac: "02:00:00:00:00:01" as Workload["mac"],
  hostLink: "weft0000000000a",
  since: 0,
});
const BOTH = ["10.244.1.5", "fd00:10:244:1::5"];
const texts = (w: Workload): string[] =>
  hostPortRows(w).map((row) =>
    row.kind === "host-port"
      ? `${planKey(row)} ${row.target} ${row.targetPort}`
      : `${row.kind} ${planKey(row)}`,
  );

test("none, no rows", () => {
  expect(hostPortRows(workload(BOTH, []))).toEqual([]);
});

test("without an address: of each family that the pod has", () => {
  expect(texts(workload(BOTH, [port(undefined), port(undefined, 53, { protocol: "udp" })]))).toEqual([
    "0.0.0.0:80/tcp 10.244.1.5 8080",
    "host-port-hairpin 10.244.1.5",
    "0.0.0.0:53/udp 10.244.1.5 8080",
    "[::]:80/tcp fd00:10:244:1::5 8080",
    "host-port-hairpin fd00:10:244:1::5",
    "[::]:53/udp fd00:10:244:1::5 8080",
  ]);
  expect(texts(workload(["10.244.1.5"], [port(undefined)]))).toEqual([
    "0.0.0.0:80/tcp 10.244.1.5 8080",
    "host-port-hairpin 10.244.1.5",
  ]);
});

test("with an address: of its family; nothing when the pod has none of it", () => {
  const ports = [port("198.18.1.11"), port("::", 81), port("0.0.0.0", 82), port("::1", 83)];
  expect(texts(workload(["10.244.1.5"], ports))).toEqual([
    "198.18.1.11:80/tcp 10.244.1.5 8080",
    "host-port-hairpin 10.244.1.5",
    "0.0.0.0:82/tcp 10.244.1.5 8080",
  ]);
  expect(unreachableHostPorts(workload(["10.244.1.5"], ports))).toEqual([port("::", 81), port("::1", 83)]);
  expect(unreachableHostPorts(workload(BOTH, ports))).toEqual([]);
});

test("what is said twice is one row, and each names the field that asked", () => {
  const rows = hostPortRows(workload(BOTH, [port(undefined), port("0.0.0.0"), port("::")]));
  expect(rows).toHaveLength(4);
  expect(new Set(rows.map((r) => `${r.kind} ${planKey(r)}`)).size).toBe(4);
  const pod = { kind: "Pod", namespace: "default", name: "web" };
  for (const { origin } of rows)
    expect(origin).toEqual({ ...pod, field: "spec.containers[*].ports[hostPort=80]" });
  const bare = { ...workload(BOTH, [port(undefined)]), podName: undefined };
  expect(hostPortRows(bare)[0]?.origin).toEqual({
    kind: "Container",
    name: "abc",
    field: "portMappings[hostPort=80]",
  });
});
