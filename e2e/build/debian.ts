/**
 * Debian's etcd, containerd, runc and busybox, unpacked into the cache. They are not installed: their packages
 * would start services on this machine, which needs none.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { run } from "../command.ts";
import { CACHE } from "../paths.ts";
import { step } from "../progress.ts";

const PACKAGES = ["etcd-server", "containerd", "runc", "busybox-static"];
const MINUTES_10 = 600_000;

/** The root directory of what the packages hold. */
export async function unpackDebian(): Promise<string> {
  const directory = join(CACHE, "debian");
  if (existsSync(directory)) return directory;
  const unfinished = `${directory}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  await step(`unpacking Debian's ${PACKAGES.join(", ")}`, async () => {
    const fetch = ["apt-get", "download", "-q", ...PACKAGES];
    // Package lists may be missing or older than what the mirror holds.
    await run(fetch, { cwd: unfinished, timeout: MINUTES_10 }).catch(async () => {
      await run(["apt-get", "update", "-q"], { timeout: MINUTES_10 });
      await run(fetch, { cwd: unfinished, timeout: MINUTES_10 });
    });
    for (const file of readdirSync(unfinished)) {
      await run(["dpkg-deb", "--extract", join(unfinished, file), unfinished]);
      rmSync(join(unfinished, file));
    }
  });
  renameSync(unfinished, directory);
  return directory;
}
