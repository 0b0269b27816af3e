/**
 * Configurations of other networks, while a cluster moves to Weft. A runtime takes the first file of its directory by
 * name, and another network's DaemonSet writes its own again whenever it is started; so the agent of a node that is
 * Weft's sets those that would come first aside whenever it sees them, by a name that no runtime reads. They are put back
 * when the node is made as it was before Weft. What comes after ours is nobody's first, and may be somebody else's
 * (podman's networks are in the same directory): it stays.
 */
import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";

const SUFFIX = ".weft-aside";
/** What runtimes read (libcni, ConfFiles). */
const READ = /\.(conf|conflist|json)$/;

/** Sets aside all configurations that runtimes would take before `own`; gives their names. */
export function setAside(own: string): string[] {
  const directory = dirname(own);
  if (!existsSync(directory)) return [];
  const others = readdirSync(directory, { withFileTypes: true })
    .filter((entry) => !entry.isDirectory() && READ.test(entry.name) && entry.name < basename(own))
    .map((entry) => entry.name);
  // One from before gives way: what was written last is what the other network would have now.
  for (const name of others) renameSync(join(directory, name), join(directory, name + SUFFIX));
  return others.sort();
}

/** Names, as they are now, of configurations that were set aside. */
export function asideIn(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory).filter((name) => name.endsWith(SUFFIX) && READ.test(original(name)));
}

/** Puts one back under its name, unless its network has written it again by itself. */
export function putBack(directory: string, name: string): void {
  const target = join(directory, original(name));
  if (existsSync(target)) rmSync(join(directory, name));
  else renameSync(join(directory, name), target);
}

const original = (name: string): string => name.slice(0, -SUFFIX.length);
