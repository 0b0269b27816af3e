/**
 * Skeletons: tables of ours in nftables whose sets, chains and rules are the same on every node. Only the elements
 * of their sets come from plan rows. A skeleton is made by one script, always with all elements in the same
 * transaction: a table without them would cut pods off, or let packets out as they should not be, for a moment.
 *
 *   kind's ops --- join(skeleton, elements as script) ---> keeper: one for each skeleton, whatever kinds share it
 *              --- put / take: changes of elements --->       | stands?  no: remade whole, by one caller for all
 *                                                             v
 *                                                          nftables
 */
import { isNotFound } from "@weft/base";
import type { Nftables, NftFamily } from "@weft/kernel/port";

export interface Skeleton {
  /** What `script` makes. `rules`: how many there are in the table; somebody who flushed a chain left fewer. */
  readonly tables: readonly { readonly family: NftFamily; readonly name: string; readonly rules: number }[];
  /** Counts up with every change of the script; an older one is replaced whole. */
  readonly version: number;
  /** Without elements it does nothing: then it need not be there, and is made with the first one. */
  readonly onDemand?: boolean;
  /** Deletes the tables if need be, and makes them, without elements. Declares `versionSet` in the first table. */
  readonly script: string;
}

/** Declaration of the set whose name tells the version of a skeleton. */
export const versionSet = (version: number): string => `set version_${version} { type mark; }`;

/** True if all tables stand, are of this version, and have all of their rules. Reads only. */
export function skeletonStands(nftables: Nftables, { tables, version }: Skeleton): boolean {
  for (const { family, name, rules } of tables) {
    if (!nftables.tableExists(family, name)) return false;
    if (nftables.ruleCount(family, name) !== rules) return false;
  }
  const [first] = tables;
  if (first === undefined) return true;
  try {
    nftables.elements(first.family, first.name, `version_${version}`, ["mark"], 4);
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** Holds one skeleton to its tables, for all kinds whose elements are in them. */
export class SkeletonKeeper {
  readonly #nftables: Nftables;
  readonly #skeleton: Skeleton;
  /** By kind: what it wants to have in the tables now, as lines of nft's language. */
  readonly #elements: (() => string)[] = [];
  /** Found by the last reading; looked at again when an element cannot be added. */
  #stood = true;
  #making: Promise<void> | undefined;

  constructor(nftables: Nftables, skeleton: Skeleton) {
    this.#nftables = nftables;
    this.#skeleton = skeleton;
  }

  join(elements: () => string): void {
    this.#elements.push(elements);
  }

  /** Looks whether the skeleton stands. If it does not, nothing of any row is held, and the next `put` makes it. */
  stands(): boolean {
    this.#stood = skeletonStands(this.#nftables, this.#skeleton);
    return this.#stood;
  }

  /** Makes the skeleton with all elements, if it does not stand and is needed. */
  async ensure(): Promise<void> {
    if (this.#skeleton.onDemand === true && this.#lines() === "") return;
    if (!this.stands()) await this.#make();
  }

  /** Adds elements by `run`; or makes the skeleton, elements and all, when there is none to add them to. */
  put(run: () => void): void | Promise<void> {
    return this.#afterMaking(() => {
      try {
        if (this.#stood) return run();
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
      return this.#make();
    });
  }

  /** Removes elements by `run`, for which what is absent is no error. */
  take(run: () => void): void | Promise<void> {
    return this.#afterMaking(run);
  }

  #lines(): string {
    return this.#elements.map((lines) => lines()).join("");
  }

  #make(): Promise<void> {
    this.#making ??= this.#nftables
      .run(this.#skeleton.script + this.#lines())
      .then(() => {
        this.#stood = true;
      })
      .finally(() => {
        this.#making = undefined;
      });
    return this.#making;
  }

  /** What is under way holds the rows of its beginning: whatever came to the sets meanwhile would be lost. */
  #afterMaking(run: () => void | Promise<void>): void | Promise<void> {
    return this.#making === undefined ? run() : this.#making.then(run, run);
  }
}

/** The skeletons of one plan: kinds that name the same one share its keeper. */
export class Skeletons {
  readonly #nftables: Nftables;
  readonly #keepers = new Map<Skeleton, SkeletonKeeper>();

  constructor(nftables: Nftables) {
    this.#nftables = nftables;
  }

  /** `elements`: what the kind wants to have in the tables at the time of the call, as lines of nft's language. */
  join(skeleton: Skeleton, elements: () => string): SkeletonKeeper {
    const keeper = this.#keepers.get(skeleton) ?? new SkeletonKeeper(this.#nftables, skeleton);
    this.#keepers.set(skeleton, keeper);
    keeper.join(elements);
    return keeper;
  }

  /** Makes those that do not stand and are needed: before anything else of a plan is applied. */
  async ensure(): Promise<void> {
    for (const keeper of this.#keepers.values()) await keeper.ensure();
  }
}
