import { expect, test } from "bun:test";
import { parseIp } from "@weft/base";
import {
  type HostPort,
  hostAddressOf,
  hostPortsContradict,
  hostPortsOverlap,
  hostPortText,
} from "./host-port.ts";

const port = (hostIp: string | undefined, more: Partial<HostPort> = {}): HostPort => ({
  hostIp: hostIp === undefined ? undefined : parseIp(hostIp),
  hostPort: 80,
  protocol: "tcp",
  containerPort: 8080,
  ...more,
});

test.each([
  ["127.0.0.1", "127.0.0.1", true],
  ["127.0.0.1", "198.18.1.11", false],
  ["127.0.0.1", "0.0.0.0", true],
  ["127.0.0.1", undefined, true],
  ["127.0.0.1", "::", false],
  ["127.0.0.1", "::1", false],
  ["0.0.0.0", "::", false],
  ["::", undefined, true],
  ["fd00::1", "::", true],
  [undefined, undefined, true],
])("%p and %p: %p", (a, b, overlap) => {
  for (const [x, y] of [
    [port(a), port(b)],
    [port(b), port(a)],
  ] as const) {
    expect(hostPortsOverlap(x, y)).toBe(overlap);
    expect(hostPortsOverlap(x, { ...y, protocol: "udp" })).toBe(false);
    expect(hostPortsOverlap(x, { ...y, hostPort: 81 })).toBe(false);
    // Where they lead is no matter.
    expect(hostPortsOverlap(x, { ...y, containerPort: 9 })).toBe(overlap);
  }
});

test("one pod's contradict each other only where they are for the same packets, and lead elsewhere", () => {
  const other = { containerPort: 9090 };
  expect(hostPortsContradict(port("10.0.0.1"), port("10.0.0.1", other))).toBe(true);
  expect(hostPortsContradict(port(undefined), port("::", other))).toBe(true);
  expect(hostPortsContradict(port("10.0.0.1"), port("10.0.0.1"))).toBe(false);
  // The address that is named says more than all of them.
  expect(hostPortsContradict(port("10.0.0.1"), port(undefined, other))).toBe(false);
});

test("where one is, by family, and how it is written", () => {
  expect(hostAddressOf(port(undefined), 6)).toBe(parseIp("::"));
  expect(hostAddressOf(port("10.0.0.1"), 6)).toBeUndefined();
  expect(hostAddressOf(port("10.0.0.1"), 4)).toBe(parseIp("10.0.0.1"));
  const texts = [undefined, "10.0.0.1", "::"].map((ip) => hostPortText(port(ip).hostIp, 80, "tcp"));
  expect(texts).toEqual(["*:80/tcp", "10.0.0.1:80/tcp", "[::]:80/tcp"]);
});
