/** The executable under test: built from the sources once a test process, as the release is built. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const CHECKOUT = join(import.meta.dir, "../../..");

let built: string | undefined;

/** Path of the built executable. Throws what the build printed. */
export function executable(): string {
  if (built !== undefined) return built;
  const directory = mkdtempSync(join(tmpdir(), "weft-agent-build-"));
  process.once("exit", () => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, "weft");
  const run = Bun.spawnSync([process.execPath, "run", "scripts/build.ts", file], {
    cwd: CHECKOUT,
    stdout: "pipe",
    stderr: "pipe",
  });
  if (!run.success) throw new Error(`the build failed: ${run.stdout.toString()}${run.stderr.toString()}`);
  built = file;
  return file;
}
