import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_SETTINGS, parseSettings } from "@weft/model";
import { LastSettings } from "./last-settings.ts";

const root = mkdtempSync(join(tmpdir(), "weft-settings-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const file = join(root, "settings.json");
const failures: unknown[] = [];
const last = (path = file): LastSettings => new LastSettings(path, (error) => failures.push(error));

test("what was kept is read by the next one", () => {
  expect(last().read()).toBeUndefined();
  const settings = parseSettings({
    backend: "vxlan",
    vxlan: { vni: 9, checksum: false },
    mtu: 1400,
    clusterCIDRs: ["fd00::/48"],
  });
  const writer = last();
  writer.keep(settings);
  const { mtimeNs } = statSync(file, { bigint: true });
  writer.keep(settings);
  expect(statSync(file, { bigint: true }).mtimeNs).toBe(mtimeNs);
  expect(last().read()).toEqual(settings);
  writer.keep(DEFAULT_SETTINGS);
  expect(last().read()).toEqual(DEFAULT_SETTINGS);
  expect(readdirSync(root)).toEqual(["settings.json"]);
  expect(failures).toEqual([]);
});

test("a copy that is damaged is as good as none", () => {
  for (const text of ["", "{", '{"backend":"pigeon"}', "[]"]) {
    writeFileSync(file, text);
    expect(last().read()).toBeUndefined();
  }
});

test("a copy that cannot be written is told, and is no reason to stop", () => {
  last(join(root, "absent", "settings.json")).keep(DEFAULT_SETTINGS);
  expect(failures.length).toBe(1);
});
