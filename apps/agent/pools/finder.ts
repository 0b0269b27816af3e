/** Where blocks can be had: asked of the cluster thread, which knows all of them. */
import { WeftError } from "@weft/base";
import type { BlockFinder, Found } from "@weft/ipam";
import type { PoolsFromCluster, PoolsToCluster } from "../messages.ts";

/** The thread may be in the middle of a large compile. */
const PATIENCE_MS = 10_000;

type Question =
  | { readonly type: "free-blocks"; readonly pool: string; readonly count: number }
  | { readonly type: "lenders"; readonly pool: string };

export class ThreadFinder implements BlockFinder {
  readonly #post: (message: PoolsToCluster) => void;
  readonly #asked = new Map<number, (found: Found) => void>();
  #last = 0;

  constructor(post: (message: PoolsToCluster) => void) {
    this.#post = post;
  }

  freeBlocks(pool: string, count: number): Promise<Found> {
    return this.#ask({ type: "free-blocks", pool, count });
  }

  lenders(pool: string): Promise<Found> {
    return this.#ask({ type: "lenders", pool });
  }

  hear({ id, prefixes, used, size }: Extract<PoolsFromCluster, { type: "blocks-found" }>): void {
    this.#asked.get(id)?.({ prefixes, used, size });
  }

  async #ask(question: Question): Promise<Found> {
    const id = ++this.#last;
    const { promise, resolve, reject } = Promise.withResolvers<Found>();
    const late = (): void =>
      reject(
        new WeftError("timeout", `blocks of pool ${question.pool} are not found in ${PATIENCE_MS / 1000} s`, {
          hint: "The agent's cluster thread is busy: see its log.",
        }),
      );
    const timer = setTimeout(late, PATIENCE_MS);
    this.#asked.set(id, resolve);
    this.#post({ ...question, id });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#asked.delete(id);
    }
  }
}
