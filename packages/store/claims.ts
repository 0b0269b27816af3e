/**
 * Who yields which output key. The smallest input key wins, whatever came first; most output keys have one claimant,
 * which is then all that is kept.
 */
import { compareKeys } from "./sorted-keys.ts";

interface Contest {
  winner: string;
  readonly claimants: Set<string>;
}

export class Claims {
  readonly #claims = new Map<string, string | Contest>();
  /** Output keys with more than one claimant. */
  readonly #contested = new Set<string>();

  winner(outputKey: string): string | undefined {
    const claim = this.#claims.get(outputKey);
    return typeof claim === "object" ? claim.winner : claim;
  }

  add(outputKey: string, inputKey: string): void {
    const claim = this.#claims.get(outputKey);
    if (claim === undefined) this.#claims.set(outputKey, inputKey);
    else if (typeof claim === "object") {
      claim.claimants.add(inputKey);
      if (inputKey < claim.winner) claim.winner = inputKey;
    } else if (claim !== inputKey) {
      const winner = claim < inputKey ? claim : inputKey;
      this.#claims.set(outputKey, { winner, claimants: new Set([claim, inputKey]) });
      this.#contested.add(outputKey);
    }
  }

  remove(outputKey: string, inputKey: string): void {
    const claim = this.#claims.get(outputKey);
    if (claim === inputKey) this.#claims.delete(outputKey);
    if (typeof claim !== "object" || !claim.claimants.delete(inputKey)) return;
    if (claim.winner === inputKey) claim.winner = smallest(claim.claimants);
    if (claim.claimants.size > 1) return;
    this.#claims.set(outputKey, claim.winner);
    this.#contested.delete(outputKey);
  }

  /** Output keys with several claimants, and those in order. */
  *contested(): Iterable<readonly [string, readonly string[]]> {
    for (const outputKey of [...this.#contested].sort(compareKeys)) {
      const claim = this.#claims.get(outputKey);
      if (typeof claim === "object") yield [outputKey, [...claim.claimants].sort(compareKeys)];
    }
  }
}

function smallest(keys: Iterable<string>): string {
  let least: string | undefined;
  for (const key of keys) if (least === undefined || key < least) least = key;
  return least as string;
}
