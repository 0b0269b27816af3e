import { beforeEach, describe, expect, test } from "bun:test";
import { createLogger, FakeClock, type IpAddress, WeftError } from "@weft/base";
import { createFakeKernel, type FakeKernel } from "@weft/kernel/fake";
import { FLOW_STATUS, type FlowFilter, IP_PROTOCOL } from "@weft/kernel/port";
import type { Backend, FrontendRow } from "@weft/model";
import { createFlowCleaner, type FlowCleaner } from "./cleaner.ts";
import type { FlowContext, Frontend } from "./stale.ts";
import { backend, context, row } from "./testing.ts";

const A = "10.244.0.1:5353";
const B = "10.244.0.2:5353";

let fake: FakeKernel;
let clock: FakeClock;
let lines: string[];
let rows: Map<string, FrontendRow>;
let given: FlowContext;
let cleaner: FlowCleaner;

beforeEach(() => {
  fake = createFakeKernel();
  clock = new FakeClock();
  lines = [];
  rows = new Map();
  given = context();
  cleaner = createFlowCleaner({
    conntrack: fake.kernel.conntrack,
    clock,
    logger: createLogger((line) => lines.push(line), "debug"),
    frontend: (match) => {
      const of = (scope: string) => rows.get(`${scope} ${match.protocol} ${match.address} ${match.port}`);
      return { any: of("any"), outside: of("outside") } as Frontend;
    },
    context: () => given,
  });
});

const keyOf = ({ scope, match }: FrontendRow): string =>
  `${scope} ${match.protocol} ${match.address} ${match.port}`;

/** The row in the plan and in the kernel. */
function become(after: FrontendRow | undefined, of: FrontendRow = after as FrontendRow): void {
  const before = rows.get(keyOf(of));
  if (after === undefined) rows.delete(keyOf(of));
  else rows.set(keyOf(of), after);
  cleaner.changed(before, after);
}

/** Lets the loop turn until the cleaner has nothing at hand; the clock stands still meanwhile. */
async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

async function later(ms = 20): Promise<void> {
  clock.advance(ms);
  await turns();
}

let port = 0;
function addFlow(to: Backend, via: Backend | undefined, protocol = 17): void {
  port++;
  const source = "203.0.113.7" as IpAddress;
  const end = via ?? to;
  fake.conntrack.add({
    family: 4,
    protocol,
    original: { source, sourcePort: port, destination: to.ip, destinationPort: to.port, icmp: undefined },
    reply: {
      source: end.ip,
      sourcePort: end.port,
      destination: source,
      destinationPort: port,
      icmp: undefined,
    },
    status: 8 | (via === undefined ? 0 : FLOW_STATUS.destinationNat),
    timeout: 1,
    tcpState: undefined,
    mark: 0,
    zone: 0,
    packets: undefined,
    bytes: undefined,
  });
}
const FRONTEND = backend("10.96.0.10:53");
const flows = async (): Promise<(string | undefined)[]> =>
  (await fake.kernel.conntrack.list({ family: 4 })).map((f) => `${f.reply.source}:${f.reply.sourcePort}`);
const flushes = (): FlowFilter[][] =>
  fake.writes.filter((w) => w.op === "flush").map((w) => w.args[0] as FlowFilter[]);

describe("the cleaner", () => {
  test("removes the flows of a backend that left, and says how many", async () => {
    become(row([A, B]));
    await later();
    for (const b of [A, B]) addFlow(FRONTEND, backend(b));
    become(row([B]));
    expect(await flows()).toEqual([A, B]);
    expect(cleaner.statistics.pending).toBe(1);
    await later();
    expect(await flows()).toEqual([B]);
    expect(cleaner.statistics).toEqual({
      removed: 1,
      failures: 0,
      error: undefined,
      pending: 0,
      draining: 0,
    });
    await cleaner.idle();
  });

  test("hundreds of changes in one moment are one call", async () => {
    for (let i = 0; i < 500; i++) become(row([A, B], { port: i + 1 }));
    await later();
    fake.writes.length = 0;
    for (let i = 0; i < 500; i++) become(row([A], { port: i + 1 }));
    for (let i = 0; i < 500; i++) addFlow({ ...FRONTEND, port: i + 1 }, backend(B));
    await later();
    expect(flushes().map((f) => f.length)).toEqual([500]);
    expect(cleaner.statistics.removed).toBe(500);
  });

  test("a change that changes nothing of flows is no call", async () => {
    become(row([A]));
    await later();
    fake.writes.length = 0;
    become({ ...row([A]), affinity: 30 });
    become(row([A, B]));
    await later();
    expect(flushes()).toEqual([]);
  });

  test("to nothing and back in one moment: no flow to the backend goes, but what went astray meanwhile", async () => {
    become(row([A]));
    await later();
    addFlow(FRONTEND, backend(A));
    become(row([]));
    addFlow(FRONTEND, undefined);
    become(row([A]));
    await later();
    expect(await flows()).toEqual([A]);
    expect(cleaner.statistics.removed).toBe(1);
  });

  test("a frontend that goes and one that comes under its name", async () => {
    become(row([A]));
    await later();
    addFlow(FRONTEND, backend(A));
    become(undefined, row([A]));
    become(row([B]));
    await later();
    expect(await flows()).toEqual([]);
  });

  test("a row for outside alone leaves inside alone", async () => {
    become(row([A, B]));
    await later();
    addFlow(FRONTEND, backend(B));
    become(row([A], { scope: "outside" }));
    await later();
    expect(
      flushes()
        .at(-1)
        ?.some((f) => f.translated === true && f.from?.inside === false),
    ).toBe(true);
    expect(await flows()).toEqual([]);
  });

  test.each(["busy", "overflow", "timeout"] as const)("%s: tried again, later each time", async (code) => {
    become(row([A, B]));
    await later();
    addFlow(FRONTEND, backend(A));
    for (let i = 0; i < 3; i++) fake.failNext("flush", new WeftError(code, "not now"));
    become(row([B]));
    await later();
    expect(cleaner.statistics).toMatchObject({ removed: 0, failures: 1, error: "not now", pending: 1 });
    await later(100);
    await later(199);
    expect(cleaner.statistics.failures).toBe(2);
    await later(1);
    expect(cleaner.statistics.failures).toBe(3);
    await later(400);
    expect(await flows()).toEqual([]);
    expect(cleaner.statistics).toMatchObject({ removed: 1, failures: 0, error: undefined, pending: 0 });
    // Once for one reason.
    expect(lines.filter((l) => l.includes("warn "))).toHaveLength(1);
    expect(lines.some((l) => l.includes("stale flows are removed again"))).toBe(true);
  });

  test("what came back before the next try is left alone, what left meanwhile goes too", async () => {
    become(row([A, B]));
    await later();
    for (const b of [A, B]) addFlow(FRONTEND, backend(b));
    fake.failNext("flush", new WeftError("busy", "not now"));
    become(row([B]));
    await later();
    become(row([A]));
    await later(1000);
    expect(await flows()).toEqual([A]);
  });

  test("a change that failed is not forgotten over the next one", async () => {
    become(row([A, B]));
    await later();
    for (const b of [A, B]) addFlow(FRONTEND, backend(b));
    fake.failNext("flush", new WeftError("busy", "not now"));
    become(row([B]));
    clock.advance(20);
    // The kernel has not answered yet.
    become(row([B, "10.244.0.3:5353"]));
    await later(1000);
    await later(1000);
    expect(await flows()).toEqual([B]);
  });

  test("a first backend whose untranslated flows could not be removed", async () => {
    addFlow(FRONTEND, undefined);
    fake.failNext("flush", new WeftError("busy", "not now"));
    become(row([A]));
    await later();
    become(row([A, B]));
    await later(1000);
    expect(await flows()).toEqual([]);
  });

  test("a filter that means nothing is not tried again, and stops nobody", async () => {
    fake.failNext("flush", new WeftError("invalid", "no such thing"));
    become(row([A]));
    await later();
    expect(cleaner.statistics).toMatchObject({ failures: 0, error: "no such thing", pending: 0 });
    addFlow(FRONTEND, backend(A));
    become(row([B]));
    await later();
    expect(await flows()).toEqual([]);
  });

  test("what asks for the context may fail: nothing is thrown", async () => {
    become(row([A]));
    await later();
    addFlow(FRONTEND, backend(A));
    const before = given;
    given = undefined as unknown as FlowContext;
    become(row([B]));
    await later();
    expect(cleaner.statistics.failures).toBe(1);
    given = before;
    await later(100);
    expect(await flows()).toEqual([]);
  });

  test("TCP, as the setting says", async () => {
    const tcp = (...backends: string[]) => row(backends, { protocol: "tcp" });
    become(tcp(A, B));
    await later();
    addFlow(FRONTEND, backend(A), IP_PROTOCOL.tcp);
    become(tcp(B));
    await later();
    expect(await flows()).toEqual([A]);
    given = context({ resetConnections: true });
    become(tcp(A, B));
    become(tcp(B));
    await later();
    expect(await flows()).toEqual([A]);
    become(tcp(A, B));
    await later();
    become(tcp(B));
    await later();
    expect(await flows()).toEqual([]);
  });

  test("a draining backend keeps its flows until it is done", async () => {
    const draining = new Set(["10.244.0.1"]);
    given = context({ draining: (_row, { ip }) => draining.has(ip) });
    become(row([A, B]));
    await later();
    addFlow(FRONTEND, backend(A));
    become(row([B]));
    await later();
    expect(await flows()).toEqual([A]);
    expect(cleaner.statistics.draining).toBe(1);
    cleaner.drained();
    await later();
    expect([await flows(), cleaner.statistics.draining]).toEqual([[A], 1]);
    draining.clear();
    cleaner.drained();
    await later();
    expect([await flows(), cleaner.statistics.draining]).toEqual([[], 0]);
  });

  test("a sweep finds what no change told of", async () => {
    rows.set(keyOf(row([B])), row([B]));
    for (const b of [A, B]) addFlow(FRONTEND, backend(b));
    addFlow(FRONTEND, undefined);
    addFlow(backend("10.96.0.99:53"), backend(A));
    await cleaner.sweep(rows.values());
    expect(await flows()).toEqual([B, A]);
    expect(cleaner.statistics.removed).toBe(2);
    fake.failNext("list", new WeftError("busy", "not now"));
    await cleaner.sweep(rows.values());
    expect(lines.at(-1)).toContain("not now");
  });

  test("closed, it does nothing more", async () => {
    become(row([A]));
    const idle = cleaner.idle();
    cleaner.close();
    await idle;
    become(row([B]));
    await later(10_000);
    expect(flushes()).toEqual([]);
  });
});
