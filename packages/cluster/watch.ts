/**
 * Noticing that something below a directory changed: kernel events (fs.watch), and polling for what they
 * miss: a directory that is not there yet, that was replaced, or a filesystem that sends none.
 */
import { type FSWatcher, statSync, watch } from "node:fs";
import { describeError, type Logger, silentLogger } from "@weft/base";

export interface WatchOptions {
  /** Milliseconds between polls, 1000 by default. */
  readonly pollMs?: number;
  readonly logger?: Logger;
}

/** A burst of events has ended when none came for this long, in milliseconds ... */
export const QUIET = 50;
/** ... but a directory that is never quiet is read this often. */
const LONGEST_BURST = 500;

/**
 * Looks for changes. One younger than QUIET may be half done: the answer is then "unsettled", and it is looked
 * at again. `hasty` says that this has gone on for long enough, or that it is the first time: take what is there.
 */
export type Check = (hasty: boolean) => "settled" | "unsettled";

/**
 * Calls `check` at once, after each burst of events in the directory, and every `pollMs`; again after QUIET
 * as long as it answers "unsettled". What `check` throws is logged, and does not end the watch.
 */
export function watchForChanges(
  directory: string,
  check: Check,
  options: WatchOptions = {},
): { stop(): void } {
  const logger = options.logger ?? silentLogger;
  let watcher: FSWatcher | undefined;
  let watched: string | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let burstStart: number | undefined;
  let unsettledSince: number | undefined = Number.NEGATIVE_INFINITY;
  let stopped = false;

  const run = (): void => {
    clearTimeout(timer);
    timer = undefined;
    burstStart = undefined;
    attach();
    try {
      const hasty = unsettledSince !== undefined && performance.now() - unsettledSince >= LONGEST_BURST;
      const settled = check(hasty) === "settled";
      unsettledSince = settled || hasty ? undefined : (unsettledSince ?? performance.now());
      if (!settled) soon();
    } catch (error) {
      logger.error("handling a changed file failed", { directory, error: describeError(error) });
    }
  };
  const soon = (): void => {
    if (stopped) return;
    const now = performance.now();
    burstStart ??= now;
    clearTimeout(timer);
    timer = setTimeout(run, Math.max(0, Math.min(QUIET, burstStart + LONGEST_BURST - now)));
  };
  // A watch is of a directory's inode: when the name comes to mean another one, so must the watch.
  const attach = (): void => {
    const inode = identity(directory);
    if (inode === watched) return;
    watcher?.close();
    watcher = undefined;
    watched = inode;
    if (inode === undefined) return;
    try {
      watcher = watch(directory, soon);
      watcher.on("error", (error) => lost(error));
    } catch (error) {
      lost(error);
    }
  };
  const lost = (error: unknown): void => {
    watcher?.close();
    watcher = undefined;
    logger.warn("no file events, polling only", { directory, error: describeError(error) });
  };

  run();
  const poll = setInterval(() => {
    if (timer === undefined) run();
  }, options.pollMs ?? 1000);
  return {
    stop() {
      stopped = true;
      clearInterval(poll);
      clearTimeout(timer);
      watcher?.close();
    },
  };
}

function identity(path: string): string | undefined {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
}

/** What tells one content of a file from another without reading it. */
export interface Signature {
  readonly text: string;
  readonly size: number;
  readonly regular: boolean;
  /** False when it was written so recently that the next write may not show, or may be under way. */
  readonly settled: boolean;
}

/** The signature of what the path names, symbolic links followed; undefined when there is nothing. Throws. */
export function signatureOf(path: string): Signature | undefined {
  const s = statSync(path, { bigint: true, throwIfNoEntry: false });
  if (s === undefined) return undefined;
  const age = Date.now() - Number(s.mtimeMs);
  return {
    text: `${s.dev}:${s.ino}:${s.size}:${s.mtimeNs}:${s.ctimeNs}`,
    size: Number(s.size),
    regular: s.isFile(),
    settled: age < 0 || age >= QUIET,
  };
}
