import { Database } from "bun:sqlite";
import { afterAll, describe, expect, test } from "bun:test";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FakeClock, WeftError } from "@weft/base";
import { blocksOf, ipsOf, request } from "./fixtures.ts";
import { type Ledger, openLedger } from "./ledger.ts";
import { SCHEMA_VERSION } from "./schema.ts";
import { describeAddressManager } from "./suite.ts";
import { SCHEMA_1, SCHEMA_2 } from "./testing/former-schemas.ts";

const directory = mkdtempSync(join(tmpdir(), "weft-ledger-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let number = 0;
const fresh = (): string => join(directory, `${++number}.db`);

describeAddressManager("openLedger", (options) => {
  const path = fresh();
  const subject = {
    manager: openLedger(path, options),
    reopen() {
      subject.manager.close();
      subject.manager = openLedger(path, options);
    },
    end() {
      subject.manager.close();
      for (const suffix of ["", "-wal"]) rmSync(path + suffix, { force: true });
    },
  };
  return subject;
});

function failure(path: string): WeftError {
  let ledger: Ledger | undefined;
  try {
    ledger = openLedger(path);
  } catch (error) {
    if (error instanceof WeftError) return error;
    throw error;
  }
  ledger.close();
  throw new Error("it opened");
}

/** A closed ledger with one workload. */
function written(): string {
  const path = fresh();
  const ledger = openLedger(path);
  for (let i = 0; i < 200; i++) ledger.allocate(request(`w${i}`), blocksOf("10.0.0.0/16", "fd00::/64"), []);
  ledger.close();
  return path;
}

/** A ledger as an earlier version wrote it, with one workload and an address that was freed. */
function former(version: 1 | 2 = 1): string {
  const path = fresh();
  const { podNamespace, podName, mac, hostLink, namespacePath, namespaceIdentity } = request("old");
  const database = new Database(path, { create: true });
  database.run("PRAGMA journal_mode = WAL");
  database.run(SCHEMA_1);
  database.run("INSERT INTO meta VALUES ('boot', 'one')");
  database.run(
    `INSERT INTO workload VALUES (1, 'old', 'ready', 'one', 'weft', 'old', 'eth0', ?, ?, ?, ?, NULL, ?, ?, 7)`,
    [namespacePath, namespaceIdentity, podNamespace as string, podName as string, mac, hostLink],
  );
  database.run("INSERT INTO lease VALUES ('10.0.0.1', 'old', 0), ('fd00::1', 'old', 1)");
  database.run("INSERT INTO block VALUES ('10.0.0.0/24', '3', 0), ('fd00::/64', '2', 0)");
  database.run("INSERT INTO freed (block, address) VALUES ('10.0.0.0/24', '10.0.0.2')");
  if (version === 2) database.run(SCHEMA_2);
  database.close();
  return path;
}

describe("the ledger's file", () => {
  test("is left alone in its directory, with nothing beside it when closed", () => {
    const path = written();
    const name = path.slice(directory.length + 1);
    expect(readdirSync(directory).filter((n) => n.startsWith(name))).toEqual([name]);
  });

  test("is held by one at a time, in this process and in others", () => {
    const path = fresh();
    const ledger = openLedger(path);
    const second = failure(path);
    expect(second.code).toBe("busy");
    expect(second.hint).toBeDefined();
    const code = `try { require("${import.meta.dir}/index.ts").openLedger(process.argv[1]); console.log("opened") }
      catch (e) { console.log(e.code, e.hint !== undefined) }`;
    const other = () => Bun.spawnSync([process.execPath, "-e", code, path]).stdout.toString().trim();
    expect(other()).toBe("busy true");
    ledger.allocate(request("a"), blocksOf("10.0.0.0/24"), []);
    expect(other()).toBe("busy true");
    ledger.close();
    expect(other()).toBe("opened");
  });

  test("of a newer version is refused, and stays as it is", () => {
    const path = written();
    const database = new Database(path);
    database.run(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
    database.close();
    const before = readFileSync(path);
    const error = failure(path);
    expect(error.code).toBe("unsupported");
    expect(error.message).toContain(`${SCHEMA_VERSION + 1}`);
    expect(error.hint).toBeDefined();
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test.each([1, 2] as const)("of version %d is read, and what it lacks is added", (version) => {
    const path = former(version);
    const without = { ...request("old"), hostPorts: [] };
    const ledger = openLedger(path, { bootId: "one" });
    expect(ledger.rebooted).toBe(false);
    expect(ledger.workloads()).toEqual([
      { state: "ready", workload: { ...without, addresses: ipsOf("10.0.0.1", "fd00::1"), since: 7 } },
    ]);
    const { addresses } = ledger.allocate(request("new"), blocksOf("10.0.0.0/24", "fd00::/64"), []);
    // The cursors and what was freed are those of before.
    expect(addresses).toEqual(ipsOf("10.0.0.3", "fd00::2"));
    ledger.close();
    for (let opened = 0; opened < 2; opened++) {
      const again = openLedger(path, { bootId: "one" });
      expect(again.get("new")?.workload.hostPorts).toEqual(request("new").hostPorts);
      expect(again.get("old")?.workload.hostPorts).toEqual([]);
      again.close();
    }
    const database = new Database(path, { readonly: true });
    expect(database.query("PRAGMA user_version").get()).toEqual({ user_version: SCHEMA_VERSION });
    // The same tables as of a ledger that is new.
    const fresh = new Database(written(), { readonly: true });
    const schema = (of: Database) =>
      (
        of.query("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").all() as {
          sql: string;
        }[]
      ).map(({ sql }) => sql.replaceAll(/--.*/g, "").replaceAll(/\s+/g, " "));
    expect(schema(database)).toEqual(schema(fresh));
    database.close();
    fresh.close();
  });

  test("of version 3, which remembered no holders, is brought to this one", () => {
    const path = written();
    const database = new Database(path);
    database.run("DROP TABLE former");
    database.run("PRAGMA user_version = 3");
    database.close();
    const ledger = openLedger(path);
    const before = ledger.workloads().length;
    ledger.allocate(request("late"), blocksOf("10.9.0.0/24"), []);
    ledger.release("late");
    expect(ledger.workloads()).toHaveLength(before);
    expect(ledger.former().map((f) => f.containerId)).toEqual(["late"]);
    ledger.close();
  });

  test("of an earlier version that is damaged stays as it is", () => {
    const path = former();
    const database = new Database(path);
    database.run("PRAGMA foreign_keys = OFF");
    database.run("DELETE FROM workload");
    database.close();
    expect(failure(path).message).toContain("damaged");
    const after = new Database(path, { readonly: true });
    expect(after.query("PRAGMA user_version").get()).toEqual({ user_version: 1 });
    after.close();
  });

  test("remembers the last holders of addresses, so many, and why they went", () => {
    const path = fresh();
    const clock = new FakeClock(1000);
    const open = () => openLedger(path, { clock, rememberHolders: 4, bootId: "one" });
    const first = open();
    const blocks = blocksOf("10.0.0.0/24", "fd00::/64");
    for (const id of ["a", "b", "c"]) {
      first.allocate({ ...request(id), podUid: `uid-${id}` }, blocks, []);
      clock.advance(500);
      first.release(id, id === "b" ? "its network namespace is gone" : undefined);
    }
    expect(first.release("a")).toBe(false);
    first.close();
    const ledger = open();
    // Two addresses each, of which the last four are kept.
    expect(ledger.former().map((f) => [f.address as string, f.podName, f.since, f.until, f.why])).toEqual([
      ["fd00::3", "c", 2000, 2500, undefined],
      ["10.0.0.3", "c", 2000, 2500, undefined],
      ["fd00::2", "b", 1500, 2000, "its network namespace is gone"],
      ["10.0.0.2", "b", 1500, 2000, "its network namespace is gone"],
    ]);
    expect(ledger.former(undefined, 1)).toHaveLength(1);
    const [address] = ipsOf("10.0.0.2");
    expect(ledger.former(address)[0]).toMatchObject({
      podNamespace: "default",
      podUid: "uid-b",
      containerId: "b",
    });
    expect(ledger.former(ipsOf("10.0.0.1")[0])).toEqual([]);
    expect(ledger.formerOfLink("weftc")?.podName).toBe("c");
    expect(ledger.formerOfLink("wefta")).toBeUndefined();
    ledger.close();
  });

  test("forgets the host ports of a workload with it", () => {
    const path = fresh();
    const ledger = openLedger(path);
    ledger.allocate(request("a"), blocksOf("10.0.0.0/24"), []);
    ledger.release("a");
    ledger.close();
    const database = new Database(path, { readonly: true });
    expect(database.query("SELECT count(*) AS n FROM host_port").get()).toEqual({ n: 0 });
    database.close();
  });

  test("that is another database is refused, and stays as it is", () => {
    const path = fresh();
    const database = new Database(path);
    database.run("CREATE TABLE t (a)");
    database.close();
    const before = readFileSync(path);
    expect(failure(path).message).toContain("no ledger");
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test.each([
    ["garbage", (path: string) => writeFileSync(path, "x".repeat(10_000))],
    ["empty", (path: string) => truncateSync(path, 0)],
    ["cut off", (path: string) => truncateSync(path, Math.floor(statSync(path).size / 2))],
    [
      "one page overwritten",
      (path: string) => {
        const bytes = readFileSync(path);
        bytes.fill(0xa5, 4096 * 3, 4096 * 4);
        writeFileSync(path, bytes);
      },
    ],
    [
      "without its tables",
      (path: string) => {
        const database = new Database(path);
        database.run("DROP TABLE freed; DROP TABLE lease");
        database.close();
      },
    ],
    [
      "with a lease of nobody",
      (path: string) => {
        const database = new Database(path);
        database.run("PRAGMA foreign_keys = OFF; DELETE FROM workload WHERE id = 'w7'");
        database.close();
      },
    ],
  ])("that is damaged (%s) is refused by name, with a hint, and not emptied", (_, damage) => {
    const path = written();
    damage(path);
    const size = statSync(path).size;
    const error = failure(path);
    expect(error.code).toBe("invalid");
    expect(error.message).toContain(path);
    expect(error.message).toContain("damaged");
    expect(error.hint).toContain("drain");
    expect(statSync(path).size).toBe(size);
  });

  test("in a directory that is not there is an error with a hint", () => {
    const error = failure(join(directory, "none", "a.db"));
    expect(error.code).toBe("unavailable");
    expect(error.hint).toContain("directory");
  });
});

describe("rebooted", () => {
  test("is true until the workloads of the other boot are gone", () => {
    const path = fresh();
    const open = (bootId: string) => openLedger(path, { bootId });
    let ledger = open("one");
    expect(ledger.rebooted).toBe(false);
    ledger.allocate(request("a"), blocksOf("10.0.0.0/24"), []);
    ledger.close();
    ledger = open("one");
    expect(ledger.rebooted).toBe(false);
    ledger.close();
    ledger = open("two");
    expect(ledger.rebooted).toBe(true);
    ledger.close();
    // An agent that died before it had dropped the workload is told again.
    ledger = open("two");
    expect(ledger.rebooted).toBe(true);
    ledger.release("a");
    ledger.close();
    ledger = open("two");
    expect(ledger.rebooted).toBe(false);
    ledger.close();
  });

  test("takes the running kernel's boot by default", () => {
    const path = fresh();
    openLedger(path, { bootId: "another" }).close();
    const ledger = openLedger(path);
    expect(ledger.rebooted).toBe(true);
    ledger.close();
  });
});

describe("memory of freed addresses", () => {
  test("is bounded on disk", () => {
    const path = fresh();
    const ledger = openLedger(path, { remember: 10 });
    for (let i = 0; i < 100; i++) {
      ledger.allocate(request("a"), blocksOf("10.0.0.0/16", "fd00::/64"), []);
      ledger.release("a");
    }
    ledger.close();
    const database = new Database(path, { readonly: true });
    expect(database.query("SELECT count(*) AS n FROM freed").get()).toEqual({ n: 10 });
    database.close();
  });
});
