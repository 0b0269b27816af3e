/** A process is killed in the middle of its work, again and again: what it left must be sound. */
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLedger } from "./ledger.ts";

const directory = mkdtempSync(join(tmpdir(), "weft-ledger-kill-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Allocates and releases at random, and says what it has been told is done. */
const CHILD = `
  const { openLedger } = require("${import.meta.dir}/index.ts");
  const { blocksOf, request } = require("${import.meta.dir}/fixtures.ts");
  const { writeSync } = require("node:fs");
  const [path, round] = process.argv.slice(1);
  const ledger = openLedger(path);
  const blocks = blocksOf("10.0.0.0/26", "fd00::/64");
  const live = ledger.workloads().map((e) => e.workload.id);
  for (let i = 0; ; i++) {
    const id = round + "-" + i;
    if (live.length < 40 && Math.random() < 0.6) {
      ledger.allocate(request(id), blocks, []);
      ledger.markReady(id);
      live.push(id);
      writeSync(1, "+" + id + "\\n");
    } else if (live.length > 0) {
      const [gone] = live.splice(Math.floor(Math.random() * live.length), 1);
      ledger.beginRelease(gone);
      ledger.release(gone);
      writeSync(1, "-" + gone + "\\n");
    }
  }
`;

test("a killed process loses nothing that it was told is done, and leaves nothing half done", async () => {
  const path = join(directory, "ledger.db");
  const told = new Map<string, boolean>();
  let operations = 0;
  for (let round = 0; round < 20; round++) {
    const child = Bun.spawn([process.execPath, "-e", CHILD, path, String(round)], {
      stdout: "pipe",
      stderr: "pipe",
    });
    const reader = child.stdout.getReader();
    const chunks: Uint8Array[] = [];
    let killed = false;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      chunks.push(value);
      if (killed) continue;
      killed = true;
      // Counted from the first operation, so that the kill falls into the work and not into the start.
      setTimeout(() => child.kill("SIGKILL"), Math.random() * 30);
    }
    await child.exited;
    expect(await new Response(child.stderr).text()).toBe("");
    const lines = Buffer.concat(chunks).toString().split("\n").slice(0, -1);
    operations += lines.length;
    for (const line of lines) told.set(line.slice(1), line[0] === "+");

    const ledger = openLedger(path);
    const entries = ledger.workloads();
    ledger.close();
    const addresses = entries.flatMap((e) => e.workload.addresses);
    expect(new Set(addresses).size).toBe(addresses.length);
    for (const { workload } of entries) expect(workload.addresses).toHaveLength(2);
    // What was under way when the kill came may be there or not; all else must be as it was told.
    const ready = new Set(entries.filter((e) => e.state === "ready").map((e) => e.workload.id));
    const here = new Set(entries.map((e) => e.workload.id));
    const missing = [...told].filter(([id, live]) => live && !here.has(id));
    const revived = [...told].filter(([id, live]) => !live && here.has(id));
    expect(revived).toEqual([]);
    expect(missing.length).toBeLessThanOrEqual(1);
    expect(entries.filter((e) => !told.has(e.workload.id)).length).toBeLessThanOrEqual(1 + round);
    for (const [id] of missing) told.delete(id);
    for (const id of ready) told.set(id, true);

    const database = new Database(path, { readonly: true });
    expect(
      database.query("SELECT address FROM lease WHERE workload NOT IN (SELECT id FROM workload)").all(),
    ).toEqual([]);
    expect(
      database.query("SELECT id FROM workload WHERE id NOT IN (SELECT workload FROM lease)").all(),
    ).toEqual([]);
    expect(
      database.query("SELECT address FROM freed WHERE address IN (SELECT address FROM lease)").all(),
    ).toEqual([]);
    database.close();
  }
  expect(operations).toBeGreaterThan(20);
}, 240_000);
