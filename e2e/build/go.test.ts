import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHECKOUT } from "../paths.ts";

/** A checkout that has built nothing yet, and a PATH of its own. */
let root: string;
let bin: string;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "weft-t-go-"));
  bin = join(root, "bin");
  mkdirSync(bin);
  cpSync(join(CHECKOUT, "e2e"), join(root, "e2e"), {
    recursive: true,
    filter: (path) => !path.includes("/.cache"),
  });
  symlinkSync(join(CHECKOUT, "node_modules"), join(root, "node_modules"));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

function run(): { code: number; lines: string[] } {
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, "run", join(root, "e2e/main.ts")], {
    cwd: root,
    // A prefix of its own: what other runs have made is not touched.
    env: { ...process.env, PATH: bin, WEFT_E2E_PREFIX: "weft-e2ego-" },
    stdin: "ignore",
  });
  return { code: exitCode, lines: `${stdout}${stderr}`.trimEnd().split("\n") };
}

const WHERE = "Get it from https://go.dev/dl/ and put its bin directory into PATH.";

test("without Go, the run says where to get it and fails", () => {
  const { code, lines } = run();
  expect(code).toBe(1);
  expect(lines.join("\n")).toContain("needs Go 1.24 or later, but there is no go here");
  expect(lines.join("\n")).toContain(WHERE);
  expect(lines.at(-1)).toBe("0 passed, 1 failed");
});

test.each(["go1.19.8", "go1.9", "devel"])("with %s too", (version) => {
  writeFileSync(join(bin, "go"), `#!/bin/sh\necho ${version}\n`, { mode: 0o755 });
  const { code, lines } = run();
  expect(code).toBe(1);
  expect(lines.join("\n")).toContain(`but this is ${version}`);
  expect(lines.join("\n")).toContain(WHERE);
  expect(lines.at(-1)).toBe("0 passed, 1 failed");
});
