/**
 * The executable under test: built from the sources once a test process, as the release is built. Its file has no
 * name any more when tests use it, so that nothing of 100 MB is left, however they end.
 */
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const CHECKOUT = join(import.meta.dir, "../../..");

let built: string | undefined;

/** Path of the built executable, good while this process lives. Throws what the build printed. */
export function executable(): string {
  built ??= build();
  return built;
}

function build(): string {
  const directory = mkdtempSync(join(tmpdir(), "weft-agent-build-"));
  try {
    const file = join(directory, "weft");
    const run = Bun.spawnSync([process.execPath, "run", "scripts/build.ts", file], {
      cwd: CHECKOUT,
      stdout: "pipe",
      stderr: "pipe",
    });
    if (!run.success) throw new Error(`the build failed: ${run.stdout.toString()}${run.stderr.toString()}`);
    return `/proc/${process.pid}/fd/${openSync(file, "r")}`;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
