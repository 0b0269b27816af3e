/** What the lab's commands need of whoever calls them. */
import { WeftError } from "@weft/base";

export interface LabIo {
  /** Text for the user, with its line ends. */
  write(text: string): void;
  /** Absolute path of the weft executable: agent, CNI plugins, workloads and supervisor are all it. */
  readonly executable: string;
  /** Ctrl-C. */
  readonly signal?: AbortSignal;
}

/** Namespaces, nftables and other users' processes: nothing of a lab works without. Throws "permission". */
export function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new WeftError("permission", "a lab is made of network namespaces, which only root may make", {
    hint: "Run it with sudo.",
  });
}
