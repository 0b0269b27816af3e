/** The network configuration list that the runtime reads. Written last, when ADDs can be served. */
import { mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { replaceFile } from "@weft/base";
import type { AgentOptions } from "./options.ts";

/** 1.0.0 first: containerd 1.6 knows no later one; newer runtimes choose from cniVersions. */
export function conflistText(o: Pick<AgentOptions, "socket" | "queue">): string {
  const list = {
    cniVersion: "1.0.0",
    cniVersions: ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    name: "weft",
    // The runtime tells of the pods' host ports only those who declare it.
    plugins: [{ type: "weft", capabilities: { portMappings: true }, socket: o.socket, queue: o.queue }],
  };
  return `${JSON.stringify(list, null, 2)}\n`;
}

/** Writes it if it differs; a reader never sees half of it. */
export function writeConflist(o: AgentOptions): void {
  const text = conflistText(o);
  try {
    if (readFileSync(o.conflist, "utf8") === text) return;
  } catch {
    // Absent or unreadable: written below.
  }
  mkdirSync(dirname(o.conflist), { recursive: true });
  replaceFile(o.conflist, text);
}
