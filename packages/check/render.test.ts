import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { parseIp } from "@weft/base";
import { buildMatrix } from "./matrix.ts";
import { type RenderOptions, renderReport } from "./render.ts";
import type { CheckFailure, CheckReport, EndpointSummary } from "./types.ts";

const GOLDEN = `${import.meta.dir}/render.golden.txt`;

function endpointsOf(nodes: number, podsPerNode: number): EndpointSummary[] {
  const numbers = Array.from({ length: nodes }, (_, i) => i + 1);
  const pods = (n: number): EndpointSummary[] =>
    Array.from({ length: podsPerNode }, (_, i) => ({
      name: `default/web-${n}-${i}`,
      kind: "pod",
      node: `node${n}`,
      addresses: [parseIp(`10.244.${n}.${i + 2}`)],
    }));
  return [
    ...numbers.map(
      (n): EndpointSummary => ({
        name: `node${n}`,
        kind: "node",
        node: `node${n}`,
        addresses: [parseIp(`10.0.0.${n}`)],
      }),
    ),
    ...numbers.flatMap(pods),
  ];
}

function reportOf(
  endpoints: readonly EndpointSummary[],
  failures: readonly CheckFailure[],
  rest: Partial<CheckReport> = {},
): CheckReport {
  const all = endpoints.flatMap((_, a) => endpoints.map((_, b) => [a, b] as const));
  return {
    ok: failures.length === 0,
    started: "2026-01-01T00:00:00.000Z",
    durationMs: 1234,
    endpoints,
    pairs: { tested: all.length, total: all.length, sampled: false, probes: all.length * 4 },
    failures,
    matrix: buildMatrix(endpoints, all, failures),
    barePackets: undefined,
    drift: undefined,
    foreignChains: [],
    setupErrors: [],
    ...rest,
  };
}

const fail = (
  from: string,
  to: string,
  family: 4 | 6,
  probe: CheckFailure["probe"],
  message = "timed out after 1 s",
): CheckFailure => ({
  from,
  to,
  family,
  address: parseIp("10.244.2.2"),
  probe,
  message,
  hint: `About ${message.split(" ")[0]}: look there.`,
});

const small = endpointsOf(2, 1);
const faulty: Partial<CheckReport> = {
  barePackets: [
    { name: "node1 eth0", packets: 12 },
    { name: "node2 eth0", packets: 0 },
  ],
  drift: [
    {
      node: "node2",
      kind: "route",
      key: "10.244.1.0/24 table 254 metric 0",
      difference: "missing",
      origin: { kind: "Node", name: "node1", field: "spec.podCIDRs[0]" },
    },
    { node: "node1", kind: "neighbour", key: "weft-vx 10.244.2.1", difference: "not asked for" },
  ],
  foreignChains: [
    {
      node: "node2",
      family: "inet",
      table: "foreign",
      chain: "forward",
      hook: "forward",
      priority: 0,
      policy: "drop",
      hasDropRules: false,
    },
    {
      node: "node1",
      family: "ip",
      table: "filter",
      chain: "INPUT",
      hook: "input",
      priority: 0,
      policy: "accept",
      hasDropRules: true,
    },
  ],
  setupErrors: [
    {
      subject: "default/gone",
      message: "its network namespace cannot be opened: open /run/netns/gone: ENOENT",
      hint: "See whether the pod still runs.",
    },
  ],
};
const everywhere = (endpoints: readonly EndpointSummary[]): CheckFailure[] =>
  endpoints.flatMap((a) =>
    endpoints
      .filter((b) => b !== a)
      .flatMap((b) => [fail(a.name, b.name, 4, "tcp"), fail(a.name, b.name, 4, "udp")]),
  );

const cases: readonly (readonly [string, CheckReport, RenderOptions])[] = [
  ["all is well", reportOf(small, [], { barePackets: [{ name: "node1 eth0", packets: 0 }] }), {}],
  [
    "faults of every kind",
    reportOf(
      small,
      [
        fail("node1", "default/web-2-0", 4, "tcp"),
        fail("node1", "default/web-2-0", 4, "udp"),
        fail("node1", "default/web-2-0", 6, "tcp"),
        fail(
          "default/web-1-0",
          "default/web-2-0",
          4,
          "tcp",
          "address translated: node2 saw 10.0.0.1, the pod sent from 10.244.1.2",
        ),
        fail(
          "default/web-1-0",
          "default/web-2-0",
          6,
          "mtu",
          "a packet of 1450 bytes (the pod MTU) does not get through",
        ),
        fail(
          "default/web-2-0",
          "default/web-1-0",
          6,
          "mtu+1",
          "a packet of 1451 bytes arrives: MTU of the interface is larger than promised (1450)",
        ),
      ],
      faulty,
    ),
    {},
  ],
  [
    "numbered columns",
    reportOf(endpointsOf(3, 3), [fail("node1", "default/web-3-2", 4, "tcp")]),
    { width: 80 },
  ],
  ["columns in blocks", reportOf(endpointsOf(2, 8), everywhere(endpointsOf(2, 8))), { width: 60 }],
  [
    "by node",
    reportOf(endpointsOf(3, 10), [
      fail("default/web-1-0", "default/web-2-3", 4, "tcp"),
      fail("default/web-1-0", "default/web-2-4", 6, "mtu"),
    ]),
    {},
  ],
  [
    "a sample",
    reportOf(small, [], {
      pairs: { tested: 4000, total: 10_000, sampled: true, probes: 32_000 },
      matrix: buildMatrix(
        small,
        [
          [0, 1],
          [2, 3],
        ],
        [],
      ),
    }),
    {},
  ],
  ["in colour", reportOf(small, [fail("node1", "node2", 4, "tcp")]), { color: true }],
  [
    "nothing at all",
    reportOf([], [], {
      ok: false,
      setupErrors: [{ subject: "network", message: "there is no node and no pod to test" }],
    }),
    {},
  ],
];

describe("renderReport", () => {
  test("is as in render.golden.txt (WEFT_GOLDEN=write refreshes it)", () => {
    const text = cases
      .map(([title, report, options]) => `=== ${title}\n${renderReport(report, options)}`)
      .join("\n");
    if (process.env["WEFT_GOLDEN"] === "write") writeFileSync(GOLDEN, text);
    expect(text).toBe(readFileSync(GOLDEN, "utf8"));
  });

  test("has no colour unless asked, and with colour the same text", () => {
    const sequences = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g");
    for (const [, report, options] of cases) {
      const plain = renderReport(report, { ...options, color: false });
      expect(sequences.test(plain)).toBe(false);
      expect(renderReport(report, { ...options, color: true }).replace(sequences, "")).toBe(plain);
    }
  });

  test("keeps the matrix within the width", () => {
    const endpoints = endpointsOf(2, 9);
    const text = renderReport(reportOf(endpoints, everywhere(endpoints)), { width: 50 });
    const table = text.slice(0, text.indexOf("(4, 6:")).split("\n").slice(1);
    expect(Math.max(...table.map((line) => line.length))).toBeLessThanOrEqual(50);
  });

  test("lists at most twenty failures and says how many more there are", () => {
    const endpoints = endpointsOf(2, 4);
    const text = renderReport(reportOf(endpoints, everywhere(endpoints)));
    expect(text).toContain("  and 70 more, --json lists all\n");
    expect(text.split("\n").filter((line) => line.includes(" -> ")).length).toBe(20);
  });
});
