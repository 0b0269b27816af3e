/** Whether a program that listens to the kernel has begun to. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** True once the process has a netlink socket that is a member of a group (/proc/PID/net/netlink). */
export function hears(pid: number): boolean {
  const own = new Set(
    readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
      } catch {
        // Closed in between.
        return undefined;
      }
    }),
  );
  const lines = readFileSync(`/proc/${pid}/net/netlink`, "utf8").trim().split("\n").slice(1);
  return lines.some((line) => {
    const columns = line.trim().split(/\s+/);
    return Number.parseInt(columns[3] ?? "0", 16) !== 0 && own.has(columns.at(-1));
  });
}
