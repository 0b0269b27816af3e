import { expect, test } from "bun:test";
import { silentLogger } from "@weft/base";
import { controllerMetrics, serveMetrics } from "./metrics.ts";
import { fullText } from "./pools/full.ts";

const gauges = {
  pool: "web",
  size: 65_534,
  used: 12,
  blocks: 2,
  nodes: 2,
  ready: true,
  forecast: { kind: "never" as const },
};

test("a leader tells of pools, the others that they do not lead", () => {
  expect(
    controllerMetrics(undefined)
      .split("\n")
      .filter((l) => !l.startsWith("#")),
  ).toEqual(["weft_controller_leading 0", ""]);
  const text = controllerMetrics([
    gauges,
    { ...gauges, pool: "db", ready: false, forecast: { kind: "full", seconds: 60 } },
    { ...gauges, pool: "new", forecast: { kind: "unknown" } },
  ]);
  const lines = text.split("\n").filter((l) => /web|db|new/.test(l));
  expect(lines.filter((l) => l.includes("exhausted"))).toEqual([
    'weft_ipam_pool_exhausted_seconds{pool="web"} +Inf',
    'weft_ipam_pool_exhausted_seconds{pool="db"} 60',
  ]);
  expect(lines).toContain('weft_ipam_pool_used{pool="web"} 12');
  expect(lines).toContain('weft_ipam_pool_ready{pool="db"} 0');
});

test("they are served where they are asked for, and nothing else is", async () => {
  const server = serveMetrics({ host: "127.0.0.1", port: 0 }, () => "weft 1\n", silentLogger);
  const get = (path: string, method = "GET") => fetch(`http://127.0.0.1:${server.port}${path}`, { method });
  const good = await get("/metrics");
  expect([good.status, good.headers.get("content-type"), await good.text()]).toEqual([
    200,
    "text/plain; version=0.0.4; charset=utf-8",
    "weft 1\n",
  ]);
  expect((await get("/")).status).toBe(404);
  expect((await get("/metrics", "POST")).status).toBe(405);
  await server.stop();
});

test("when a pool will be full is written rarely, and what is not known is left as it was", () => {
  const now = Date.parse("2026-01-01T00:00:30Z");
  const full = (seconds: number) => ({ kind: "full" as const, seconds });
  const never = { kind: "never" as const };
  const unknown = { kind: "unknown" as const };
  expect(fullText(unknown, now, undefined, false)).toBeUndefined();
  expect(fullText(unknown, now, "2027-01-01T00:00:00Z", false)).toBe("2027-01-01T00:00:00Z");
  expect(fullText(never, now, "2027-01-01T00:00:00Z", true)).toBe("never");
  expect(fullText(full(600), now, undefined, true)).toBe("2026-01-01T00:11:00Z");
  expect(fullText(full(36_000), now, "never", true)).toBe("2026-01-01T11:00:00Z");
  expect(fullText(full(864_000), now, undefined, false)).toBe("2026-01-12T00:00:00Z");
  expect(fullText(full(600), now, "2026-02-01T00:00:00Z", true)).toBe("2026-02-01T00:00:00Z");
  expect(fullText(full(600), now, "2026-02-01T00:00:00Z", false)).toBe("2026-01-01T00:11:00Z");
});
