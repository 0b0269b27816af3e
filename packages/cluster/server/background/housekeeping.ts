/** What is done now and then: old history and old Events are forgotten, watchers get bookmarks and their end. */
import { describeError, type Logger } from "@weft/base";
import type { Watcher } from "../http/watch.ts";
import { EVENTS } from "../resources/event.ts";
import type { Store } from "../storage/store.ts";
import type { ApiObject } from "../values.ts";

/** Watches that were away for no longer than this go on without a new list. */
const HISTORY = 10 * 60_000;
/** As in kube-apiserver. */
const EVENT_LIFE = 60 * 60_000;
const COMPACT_EVERY = 60_000;
const TICK = 1000;

export class Housekeeping {
  readonly #timers: Timer[];
  #stopped = false;

  constructor(store: Store, watchers: ReadonlySet<Watcher>, now: () => number, logger: Logger) {
    const guarded = (work: () => void | Promise<void>) => async (): Promise<void> => {
      try {
        await work();
      } catch (error) {
        if (!this.#stopped) logger.warn("housekeeping failed", { error: describeError(error) });
      }
    };
    this.#timers = [
      setInterval(() => {
        for (const watcher of [...watchers]) watcher.tick();
      }, TICK),
      setInterval(
        guarded(async () => {
          await forgetEvents(store, now() - EVENT_LIFE);
          while (!this.#stopped && store.compact(now() - HISTORY))
            await new Promise((done) => setImmediate(done));
        }),
        COMPACT_EVERY,
      ),
    ];
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) clearInterval(timer);
  }
}

/** Deletes the Events that were last written before `time`. */
export async function forgetEvents(store: Store, time: number): Promise<void> {
  for (const keys of store.writtenBefore(EVENTS.storage, time)) {
    await store.transact((tx) => {
      for (const key of keys) {
        const held = tx.get(EVENTS.storage, key);
        if (held !== undefined) tx.delete(EVENTS.storage, key, JSON.parse(held.value) as ApiObject);
      }
    });
  }
}
