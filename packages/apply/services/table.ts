/**
 * Table inet weft-services of one node: all kinds of service rows end here, as elements, in as few transactions as they come.
 *
 * What the kernel holds is remembered, so that a change costs what it changes. The ruleset's generation tells whether
 * anybody else has changed anything since: then, and only then, a comparison looks at the kernel again. When the table is
 * missing, of another version or damaged, it is made anew with all of its elements in one transaction.
 */
import { hasCode, isExists, isNotFound } from "@weft/base";
import type { NftStep } from "@weft/kernel/nftables";
import type { Nftables, SetElement, SetField } from "@weft/kernel/port";
import type { ServicePlanKind, ServicePlanRow } from "@weft/model";
import { hex, ipSize, PROTOCOLS } from "./bytes.ts";
import { Changes, type Forgotten } from "./changes.ts";
import { emptyHeld, type Held, type HeldFrontend, type HeldPlain } from "./held.ts";
import { FAMILIES, SERVICES_TABLE } from "./layout.ts";
import { glance, readHeld } from "./read.ts";
import { SKELETON, SKELETON_COMMENT } from "./skeleton.ts";

/**
 * Quick looks in a row before everything is read again. Reading costs a second of CPU for 100,000 elements, and others
 * change their tables all the time: each pod that starts is a transaction.
 */
const GLANCES = { same: 30, unsure: 6 } as const;
/** Elements in one transaction: a change of more is several. */
const MAX_ELEMENTS = 100_000;

export interface Removal {
  readonly kind: ServicePlanKind;
  readonly key: string;
}

export class ServiceTable {
  readonly #nft: Nftables;
  readonly #rows: () => Iterable<ServicePlanRow>;
  /** Undefined while the table does not stand, or has not been read. */
  #held: Held | undefined;
  /** The generation at which `#held` is what the kernel holds; undefined when that is not known. */
  #generation: number | undefined;
  #glances = 0;
  /** A transaction failed on something that `#held` says is otherwise. */
  #refuted = false;
  #revision = 0;

  /** `rows`: everything that is wanted, for when the table must be made. */
  constructor(nft: Nftables, rows: () => Iterable<ServicePlanRow>) {
    this.#nft = nft;
    this.#rows = rows;
  }

  /** What the kernel holds now; nothing while the table does not stand. */
  held<K extends ServicePlanKind>(kind: K): Iterable<K extends "frontend" ? HeldFrontend : HeldPlain> {
    this.#look();
    const held = this.#held ?? emptyHeld();
    const found = kind === "frontend" ? held.frontends : held.plain[kind as HeldPlain["kind"]];
    return found.values() as Iterable<K extends "frontend" ? HeldFrontend : HeldPlain>;
  }

  /** Another number whenever the kernel may hold something else than was written here. */
  revision(): number {
    this.#look();
    return this.#revision;
  }

  /** Brings these rows into the kernel and takes those out. */
  apply(put: readonly ServicePlanRow[], remove: readonly Removal[]): void {
    if (this.#held === undefined) this.#look();
    if (this.#held === undefined) {
      this.#make();
      return;
    }
    try {
      this.#change(put, remove);
    } catch (error) {
      if (hasCode(error, "exhausted")) {
        // A set is full: its size is settled when it is made.
        this.#make();
        return;
      }
      // Somebody has changed the table: look at what is there.
      if (!isNotFound(error) && !isExists(error) && !hasCode(error, "busy")) throw error;
      this.#generation = undefined;
      this.#refuted = true;
      this.#look();
      if (this.#held === undefined) this.#make();
      else this.#change(put, remove);
    }
  }

  /** Reads the kernel if it may hold something else than is known; all of it when a quick look does not do. */
  #look(): void {
    const before = this.#nft.generation();
    if (this.#generation === before) return;
    const known = this.#refuted ? undefined : this.#held;
    const seen = known === undefined ? "other" : glance(this.#nft, known);
    this.#glances = seen === "other" ? 0 : this.#glances + 1;
    if (seen === "other" || this.#glances > GLANCES[seen]) {
      this.#glances = 0;
      this.#held = readHeld(this.#nft);
      this.#revision++;
      this.#refuted = false;
    }
    // Somebody may have changed it while it was read: then the next look reads again.
    this.#generation = this.#nft.generation() === before ? before : undefined;
  }

  #change(put: readonly ServicePlanRow[], remove: readonly Removal[]): void {
    const held = this.#held as Held;
    let changes = new Changes(held);
    const flush = (): void => {
      this.#commit(changes);
      changes = new Changes(held);
    };
    for (const { kind, key } of remove) {
      changes.remove(kind, key);
      if (changes.size > MAX_ELEMENTS) flush();
    }
    for (const row of put) {
      changes.put(row);
      if (changes.size > MAX_ELEMENTS) flush();
    }
    flush();
  }

  #commit(changes: Changes): void {
    const steps = changes.steps();
    if (steps.length > 0) {
      this.#nft.commit("inet", SERVICES_TABLE, steps);
      this.#wrote();
    }
    changes.settle();
    for (const forgotten of changes.forgotten) this.#forget(forgotten);
  }

  /** One transaction of ours has passed. */
  #wrote(): void {
    if (this.#generation === undefined) return;
    const next = (this.#generation + 1) >>> 0;
    const now = this.#nft.generation();
    // The kernel leaves out zero.
    this.#generation = now === (next === 0 ? 1 : next) ? now : undefined;
  }

  /** Makes the table with everything that is wanted: never a moment with half of it. */
  #make(): void {
    const held = emptyHeld();
    const changes = new Changes(held);
    for (const row of this.#rows()) changes.put(row);
    const before = this.#nft.generation();
    this.#nft.commit("inet", SERVICES_TABLE, [
      { do: "table" },
      { do: "delete-table" },
      { do: "table", comment: SKELETON_COMMENT },
      ...SKELETON.map((step) => (step.do === "set" ? withSize(step, changes.added(step.set)) : step)),
      ...changes.steps(),
      ...this.#remembered(changes),
    ]);
    this.#generation = before;
    this.#wrote();
    changes.settle();
    this.#held = held;
    this.#revision++;
  }

  /** The clients that a table which is about to be replaced remembers, those whose backends are still there. */
  #remembered(changes: Changes): NftStep[] {
    const led = changes.affine();
    if (led.size === 0) return [];
    return FAMILIES.flatMap((family): NftStep[] => {
      try {
        const size = ipSize(family);
        const elements = this.#nft
          .rawElements("inet", SERVICES_TABLE, `affinity${family}`)
          .filter(({ key, value }) => {
            return value instanceof Uint8Array && led.has(`${hex(key.subarray(size))}${hex(value)}`);
          });
        return elements.length === 0 ? [] : [{ do: "add", set: `affinity${family}`, elements }];
      } catch (error) {
        if (isNotFound(error)) return [];
        throw error;
      }
    });
  }

  /** Deletes what leads clients to backends that are gone. */
  #forget({ match, backends }: Forgotten): void {
    const { family, address, protocol, port } = match;
    const set = `affinity${family}`;
    const zero = family === 4 ? "0.0.0.0" : "::";
    const ip = address === "node" ? zero : address;
    const lost = new Set(backends.map((b) => `${b.ip} ${b.port}`));
    const isLost = ({ key, value }: SetElement): boolean =>
      key[1]?.value === ip &&
      key[2]?.value === PROTOCOLS[protocol] &&
      key[3]?.value === port &&
      lost.has(`${value?.[0]?.value} ${value?.[1]?.value}`);
    const found = this.#nft
      .elements("inet", SERVICES_TABLE, set, AFFINITY_KEY, family, AFFINITY_VALUE)
      .filter(isLost);
    if (found.length === 0) return;
    this.#nft.deleteElements("inet", SERVICES_TABLE, set, found);
    this.#wrote();
  }
}

/** Sets that hold something of each service, and the least that they are made for. */
const SIZED = /^(frontends|outside|backends|addresses)/;
const LEAST_SIZE = 4096;

/** Made for twice as many elements as there are, since what a transaction replaces counts twice until its end. */
function withSize(step: Extract<NftStep, { do: "set" }>, elements: number): NftStep {
  if (!SIZED.test(step.set)) return step;
  return { ...step, size: Math.max(LEAST_SIZE, 2 ** Math.ceil(Math.log2(2 * elements + 1))) };
}

const AFFINITY_KEY: readonly SetField["type"][] = ["ip", "ip", "protocol", "port"];
const AFFINITY_VALUE: readonly SetField["type"][] = ["ip", "port"];
