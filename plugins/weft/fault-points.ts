/**
 * Named places where a test can end or stall a process. With WEFT_FAULT_FILE set, a process that passes a place
 * named in that file ends at once, as a power cut would end it: the crash tests walk through all of them. Unset, a
 * place costs one comparison.
 *
 * The file holds lines "kill PLACE" or "stall PLACE MILLISECONDS"; a line is used up by the one who acts on it.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";

/** Places in the plugin. Those of the agent are its own. */
export const PLUGIN_STEPS = [
  "plugin:add-read",
  "plugin:add-answered",
  "plugin:del-read",
  "plugin:del-unheard",
  "plugin:del-written",
  "plugin:del-queued",
  "plugin:del-answered",
] as const;
export type PluginStep = (typeof PLUGIN_STEPS)[number];

const FILE = process.env["WEFT_FAULT_FILE"];

export function faultPoint(name: string): void {
  if (FILE === undefined || !existsSync(FILE)) return;
  const lines = readFileSync(FILE, "utf8").split("\n");
  const hit = lines.findIndex((line) => line.split(" ")[1] === name);
  if (hit < 0) return;
  const [action, , milliseconds] = (lines[hit] as string).split(" ");
  writeFileSync(`${FILE}.tmp`, lines.filter((_, i) => i !== hit).join("\n"));
  renameSync(`${FILE}.tmp`, FILE);
  if (action === "kill") process.kill(process.pid, "SIGKILL");
  if (action === "stall") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(milliseconds));
}
