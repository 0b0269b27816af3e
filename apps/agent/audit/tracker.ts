/**
 * Which findings are told, since when they stand, and which are new: a difference of a moment is none. Pure but for the
 * clock, of which the monotonic part decides, and the other is only shown.
 */
import type { Clock } from "@weft/base";
import type { AuditFinding } from "@weft/model";
import type { Found } from "./compare.ts";

interface Seen {
  /** Milliseconds since the epoch, and monotonic. */
  readonly since: number;
  readonly first: number;
  told: boolean;
}

export class Tracker {
  readonly #clock: Clock;
  readonly #seen = new Map<string, Seen>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** All of one round. Those that are gone are forgotten, and new when they come back. */
  take(round: readonly Found[]): { all: AuditFinding[]; fresh: AuditFinding[] } {
    const now = this.#clock.monotonic();
    const keys = new Set(round.map((f) => f.key));
    for (const key of this.#seen.keys()) if (!keys.has(key)) this.#seen.delete(key);
    const all: AuditFinding[] = [];
    const fresh: AuditFinding[] = [];
    for (const { settle, left, ...found } of round) {
      const seen = this.#seen.get(found.key) ?? { since: this.#clock.now(), first: now, told: false };
      this.#seen.set(found.key, seen);
      if (now - seen.first < settle) continue;
      const finding: AuditFinding = {
        ...found,
        since: found.since ?? seen.since,
        due: left === undefined ? undefined : this.#clock.now() + left,
      };
      all.push(finding);
      if (seen.told) continue;
      seen.told = true;
      fresh.push(finding);
    }
    return { all, fresh };
  }
}
