/**
 * Named steps of ADD and DEL. With WEFT_FAULT_FILE set, a process that passes a step named in that file ends at
 * once, as a power cut would end it: the crash tests walk through every step. Unset, a step costs one comparison.
 *
 * The file holds lines "kill STEP" or "stall STEP MILLISECONDS"; a line is used up by the one who acts on it.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";

export const STEPS = [
  "add:received",
  "add:namespace-opened",
  "add:address-allocated",
  "add:planned",
  "add:applied",
  "add:read-back",
  "add:recorded",
  "del:received",
  "del:marked",
  "del:planned",
  "del:applied",
  "del:released",
] as const;
export type Step = (typeof STEPS)[number];

const FILE = process.env["WEFT_FAULT_FILE"];

export function step(name: Step | "compile"): void {
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
