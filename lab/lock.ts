/** One `up` or `down` of a lab at a time: a file beside its directory that names the process which holds it. */
import { linkSync, mkdirSync, readFileSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { WeftError } from "@weft/base";
import { identify, isAlive, type ProcessIdentity } from "./processes.ts";
import { LAB_DIRECTORY } from "./state.ts";

/** Throws "busy" while another process that lives holds it. */
export async function withLock<T>(lab: string, fn: () => Promise<T>): Promise<T> {
  mkdirSync(LAB_DIRECTORY, { recursive: true, mode: 0o700 });
  const path = `${LAB_DIRECTORY}/${lab}.lock`;
  const own = `${path}.${process.pid}`;
  writeFileSync(own, JSON.stringify(identify(process.pid)), { mode: 0o600 });
  try {
    if (!claim(own, path)) {
      const holder = holderOf(path);
      if (holder !== undefined && isAlive(holder)) throw busy(lab, holder);
      // Its holder was killed. Of two that come here at once, one link fails.
      rmSync(path, { force: true });
      if (!claim(own, path)) throw busy(lab, holderOf(path));
    }
  } finally {
    unlinkSync(own);
  }
  try {
    return await fn();
  } finally {
    rmSync(path, { force: true });
  }
}

/** A link appears with its content, or not at all. */
function claim(own: string, path: string): boolean {
  try {
    linkSync(own, path);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  }
}

function holderOf(path: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as ProcessIdentity;
  } catch {
    return undefined;
  }
}

const busy = (lab: string, holder: ProcessIdentity | undefined): WeftError =>
  new WeftError("busy", `lab "${lab}" is just being made or removed by process ${holder?.pid ?? "unknown"}`, {
    object: `lab ${lab}`,
    hint: "Wait for it to end.",
  });
