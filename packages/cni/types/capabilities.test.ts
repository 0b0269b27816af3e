import { expect, test } from "bun:test";
import { CniError } from "../errors.ts";
import { parseCapabilityArguments } from "./capabilities.ts";

test("reads the well-known capabilities and keeps others", () => {
  const json = {
    portMappings: [
      { hostPort: 8080, containerPort: 80, protocol: "TCP", hostIP: "" },
      { hostPort: 53, containerPort: 53, protocol: "udp", hostIP: "fd00:0::1" },
    ],
    bandwidth: { ingressRate: 2048, ingressBurst: 1600 },
    ipRanges: [[{ subnet: "10.1.0.0/24", rangeStart: "10.1.0.3" }, { subnet: "10.2.0.0/24" }]],
    dns: { servers: ["10.96.0.10"], searches: ["a"], options: ["ndots:5"] },
    mac: "02:00:00:00:00:0A",
    ips: ["10.1.0.7/24"],
    infinibandGUID: "c2:11:22:33:44:55:66:77",
    deviceID: "0000:00:1f.6",
    aliases: ["web"],
    cgroupPath: "/kubepods/x",
    "example.org/other": { a: 1 },
  };
  expect(parseCapabilityArguments(json)).toEqual({
    ...json,
    portMappings: [
      { hostPort: 8080, containerPort: 80, protocol: "tcp" },
      { hostPort: 53, containerPort: 53, protocol: "udp", hostIP: "fd00::1" },
    ],
    mac: "02:00:00:00:00:0a",
  } as never);
  expect(parseCapabilityArguments(undefined)).toEqual({});
});

test("reads port mappings as containerd writes them, without names for their keys", () => {
  const portMappings = [{ HostPort: 8080, ContainerPort: 80, Protocol: "tcp", HostIP: "127.0.0.1" }];
  expect(parseCapabilityArguments({ portMappings }).portMappings).toEqual([
    { hostPort: 8080, containerPort: 80, protocol: "tcp", hostIP: "127.0.0.1" as never },
  ]);
  // The name of the specification comes first.
  const twice = [{ HOSTPORT: 1, hostPort: 2, ContainerPort: 3 }];
  expect(parseCapabilityArguments({ portMappings: twice }).portMappings?.[0]?.hostPort).toBe(2);
  const bandwidth = { IngressRate: 1000, EgressBurst: 5 };
  expect(parseCapabilityArguments({ bandwidth }).bandwidth).toEqual({ ingressRate: 1000, egressBurst: 5 });
});

test.each([
  { portMappings: {} },
  { portMappings: [{ HostPort: 70000, ContainerPort: 1 }] },
  { portMappings: [{ HostPort: 1, ContainerPort: 1, HostIP: "localhost" }] },
  { portMappings: [{ hostPort: 1 }] },
  { portMappings: [{ hostPort: 70000, containerPort: 1 }] },
  { portMappings: [{ containerPort: 1, protocol: "icmp" }] },
  { bandwidth: { ingressRate: -1 } },
  { ipRanges: [{ subnet: "10.0.0.0/8" }] },
  { ipRanges: [[{}]] },
  { mac: "x" },
  { ips: [1] },
])("refuses %j", (json) => {
  expect(() => parseCapabilityArguments(json)).toThrow(CniError);
});
