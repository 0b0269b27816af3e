import { afterAll, afterEach, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_SETTINGS, type Settings } from "@weft/model";
import { type ManifestRows, nodeManifest, readDirectory, watchDirectory, watchSettings } from "./index.ts";

const root = mkdtempSync(join(tmpdir(), "weft-cluster-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let number = 0;
const fresh = (): string => {
  const directory = join(root, String(++number));
  mkdirSync(directory);
  return directory;
};
const node = (name: string, index: number): string =>
  nodeManifest({ name, addresses: [`192.0.2.${index}`], podCIDRs: [`10.0.${index}.0/24`] });

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    if (i > 12_000) throw new Error("it did not come about");
    await Bun.sleep(5);
  }
}

/** A watch, all that it said, and a way to wait for what it says last. */
function start(directory: string, pollMs = 20) {
  const said: ManifestRows[] = [];
  stops.push(watchDirectory(directory, (rows) => said.push(rows), { pollMs }).stop);
  const last = () => said.at(-1) as ManifestRows;
  const names = () =>
    last()
      .nodes.map((n) => n.name)
      .join(" ");
  return { said, last, names, untilNames: (text: string) => until(() => names() === text) };
}

describe("readDirectory", () => {
  test("reads manifests in lexical order, and only those", () => {
    const d = fresh();
    writeFileSync(join(d, "b.yml"), node("a", 2));
    writeFileSync(join(d, "a.yaml"), node("a", 1));
    writeFileSync(join(d, "c.json"), '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"s"}}');
    for (const name of ["notes.txt", ".hidden.yaml", "d.yaml~"]) writeFileSync(join(d, name), "{broken");
    mkdirSync(join(d, "e.yaml"));
    const rows = readDirectory(d);
    expect(rows.blocks.map((b) => String(b.prefix))).toEqual(["10.0.1.0/24"]);
    expect(rows.errors).toEqual(["b.yml:1: Node a: is in a.yaml:1 too; the one in a.yaml:1 is used"]);
    expect(rows.warnings).toHaveLength(1);
  });

  test("tells what it cannot read", () => {
    const d = fresh();
    writeFileSync(join(d, "large.yaml"), "#".repeat(5_000_000));
    writeFileSync(join(d, "latin.yaml"), Buffer.from([0x61, 0xe9, 0x0a]));
    symlinkSync("loop.yaml", join(d, "loop.yaml"));
    const { errors } = readDirectory(d);
    expect(errors).toEqual([
      "large.yaml: 5000000 bytes, more than the 4194304 that are read",
      "latin.yaml: is not UTF-8 text",
      expect.stringContaining("loop.yaml: ELOOP"),
    ]);
    expect(readDirectory(join(d, "none")).errors[0]).toContain("ENOENT");
  });
});

describe("watchDirectory", () => {
  test("speaks at once, and then of files that come, change and go", async () => {
    const d = fresh();
    writeFileSync(join(d, "a.yaml"), node("a", 1));
    const w = start(d);
    expect(w.names()).toBe("a");
    writeFileSync(join(d, "b.yaml"), node("b", 2));
    await w.untilNames("a b");
    writeFileSync(join(d, "b.yaml"), node("c", 2));
    await w.untilNames("a c");
    writeFileSync(join(d, ".draft"), node("d", 1));
    renameSync(join(d, ".draft"), join(d, "a.yaml"));
    await w.untilNames("c d");
    rmSync(join(d, "b.yaml"));
    await w.untilNames("d");
    const count = w.said.length;
    await Bun.sleep(100);
    expect(w.said.length).toBe(count);
  });

  test.each([
    ["events alone", 600_000],
    ["polling", 20],
  ])("by %s a rewritten file shows", async (_, pollMs) => {
    const d = fresh();
    writeFileSync(join(d, "a.yaml"), node("a", 1));
    const w = start(d, pollMs);
    writeFileSync(join(d, "a.yaml"), node("b", 1));
    await w.untilNames("b");
    writeFileSync(join(d, "a.yaml"), node("c", 1));
    await w.untilNames("c");
  });

  test("a typo takes nothing away: what the file had stays until the fault is gone", async () => {
    const d = fresh();
    writeFileSync(join(d, "a.yaml"), `${node("a", 1)}---\n${node("b", 2)}`);
    const w = start(d);
    // The second document is broken, the first has changed, a third is new.
    writeFileSync(join(d, "a.yaml"), `${node("a", 9)}---\nkind: "Node\n---\n${node("c", 3)}`);
    await w.untilNames("a b c");
    expect(w.last().errors[0]).toMatch(/^a\.yaml:\d+: /);
    expect(w.last().blocks.map((b) => String(b.prefix))).toEqual([
      "10.0.9.0/24",
      "10.0.2.0/24",
      "10.0.3.0/24",
    ]);
    writeFileSync(join(d, "a.yaml"), "{{{");
    await until(() => w.last().errors.join().includes("a.yaml:1:"));
    expect(w.names()).toBe("a b c");
    // Written elsewhere, an object no longer needs what is only kept of it.
    writeFileSync(join(d, "b.yaml"), node("b", 7));
    await until(() => w.last().blocks.some((b) => b.prefix === "10.0.7.0/24"));
    expect(w.last().errors).toHaveLength(1);
    writeFileSync(join(d, "a.yaml"), node("a", 1));
    await w.untilNames("a b");
    expect(w.last().errors).toEqual([]);
  });

  test("a faulty file that is deleted takes what was kept of it along", async () => {
    const d = fresh();
    writeFileSync(join(d, "a.yaml"), node("a", 1));
    const w = start(d);
    writeFileSync(join(d, "a.yaml"), "{{{");
    await until(() => w.last().errors.length === 1);
    rmSync(join(d, "a.yaml"));
    await w.untilNames("");
    expect(w.last().errors).toEqual([]);
  });

  test("a directory that is not there yet is an error, until it is", async () => {
    const d = join(fresh(), "later");
    const w = start(d);
    expect([w.names(), w.last().errors.length]).toEqual(["", 1]);
    mkdirSync(d);
    writeFileSync(join(d, "a.yaml"), node("a", 1));
    await w.untilNames("a");
    expect(w.last().errors).toEqual([]);
  });

  test("a directory that vanishes and comes back loses nothing meanwhile", async () => {
    const d = fresh();
    writeFileSync(join(d, "a.yaml"), node("a", 1));
    const w = start(d);
    renameSync(d, `${d}-away`);
    await until(() => w.last().errors.length === 1);
    expect(w.names()).toBe("a");
    mkdirSync(d);
    writeFileSync(join(d, "b.yaml"), node("b", 2));
    await w.untilNames("b");
    expect(w.last().errors).toEqual([]);
    writeFileSync(join(d, "c.yaml"), node("c", 3));
    await w.untilNames("b c");
    expect(existsSync(`${d}-away`)).toBe(true);
  });

  test.each([
    ["whose writing sends events", false],
    ["that is elsewhere, so that polling alone finds it", true],
  ])("a file %s, written piece by piece, never shows as less than it was", async (_, linked) => {
    const whole = Array.from({ length: 6 }, (_, i) => node(`n${i}`, i)).join("---\n");
    // A machine that stalls the writer for longer than a file must rest has shown nothing: once more then.
    for (let attempt = 0, stalled = true; stalled && attempt < 10; attempt++) {
      const d = fresh();
      const file = join(linked ? fresh() : d, "a.yaml");
      writeFileSync(file, whole);
      if (linked) symlinkSync(file, join(d, "a.yaml"));
      const w = start(d, 10);
      let before = performance.now();
      stalled = false;
      writeFileSync(file, "");
      for (const part of `${whole}---\n${node("n6", 6)}`.split(/(?=---\n)/)) {
        await Bun.sleep(8);
        appendFileSync(file, part);
        stalled ||= performance.now() - before > 30;
        before = performance.now();
      }
      await w.untilNames("n0 n1 n2 n3 n4 n5 n6");
      if (!stalled) expect(w.said.map((rows) => rows.nodes.length)).toEqual([6, 7]);
    }
  });

  test("a file that is never quiet is read all the same", async () => {
    const d = fresh();
    writeFileSync(join(d, "a.yaml"), node("a", 1));
    const w = start(d);
    writeFileSync(join(d, "a.yaml"), node("b", 1));
    const busy = setInterval(() => appendFileSync(join(d, "a.yaml"), "# more\n"), 5);
    await w.untilNames("b").finally(() => clearInterval(busy));
  });

  test("says nothing once it is stopped", async () => {
    const d = fresh();
    const said: ManifestRows[] = [];
    watchDirectory(d, (rows) => said.push(rows), { pollMs: 10 }).stop();
    writeFileSync(join(d, "a.yaml"), node("a", 1));
    await Bun.sleep(120);
    expect(said).toHaveLength(1);
  });
});

describe("watchSettings", () => {
  function settings(file: string) {
    const said: [Settings, string?][] = [];
    stops.push(watchSettings(file, (...s) => said.push(s as [Settings, string?]), { pollMs: 20 }).stop);
    return { said, last: () => said.at(-1) as [Settings, string?] };
  }

  test("absent means defaults; changes come; a bad file changes nothing and says why", async () => {
    const file = join(fresh(), "settings.yaml");
    const s = settings(file);
    expect(s.said).toEqual([[DEFAULT_SETTINGS]]);
    writeFileSync(file, "backend: vxlan\nvxlan: {checksum: on}\n");
    await until(() => s.last()[0].backend === "vxlan");
    expect([s.last()[0].vxlan.checksum, s.last().length]).toEqual(["on", 1]);
    writeFileSync(file, "backend: vlxan\nmtu: 5\n");
    await until(() => s.last()[1] !== undefined);
    expect(s.last()[0].backend).toBe("vxlan");
    expect(s.last()[1]).toMatch(/backend.*mtu/);
    writeFileSync(file, "\nbackend: [");
    await until(() => /settings\.yaml:2: /.test(s.last()[1] ?? ""));
    // Replaced, as editors and configuration management do.
    writeFileSync(`${file}.new`, "backend: direct\n");
    renameSync(`${file}.new`, file);
    await until(() => s.last()[0].backend === "direct");
    expect(s.last()).toHaveLength(1);
    writeFileSync(file, "a: 1\n---\nb: 2\n");
    await until(() => /one document/.test(s.last()[1] ?? ""));
    rmSync(file);
    await until(() => s.last()[0].backend === "auto" && s.last().length === 1);
  });

  test("a bad file at the start means defaults and an error", () => {
    const file = join(fresh(), "settings.yaml");
    writeFileSync(file, "nonsense: 1\n");
    expect(settings(file).said).toEqual([[DEFAULT_SETTINGS, expect.stringContaining("nonsense")]]);
  });

  test("a directory that is not there yet is no hindrance", async () => {
    const d = join(fresh(), "later");
    const s = settings(join(d, "settings.yaml"));
    expect(s.said).toEqual([[DEFAULT_SETTINGS]]);
    mkdirSync(d);
    writeFileSync(join(d, "settings.yaml"), "mtu: 1400\n");
    await until(() => s.last()[0].mtu === 1400);
  });
});
