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

test.each([
  { portMappings: {} },
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
