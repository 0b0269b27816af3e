/**
 * Blocks as a watch tells of them, and as this node has written them since. Of blocks of others only a little is kept: there
 * may be thousands, on every node.
 *
 * What this node wrote counts before the watch tells of it. An event that is older than that is ignored; the written state
 * is forgotten when the watch has come to its version, whatever it then says.
 */
import type { Prefix } from "@weft/base";
import { type Block, blockName, type IpBlock } from "@weft/model";
import { isMapping } from "../field.ts";
import { blocksOf } from "../ip-block.ts";
import { decodeBlock } from "./pools.ts";
import { isOlder, type KubernetesObject } from "./resource.ts";

export interface BlockRow {
  readonly version: string;
  readonly uid: string;
  readonly prefix: Prefix;
  readonly pool: string;
  readonly node: string | undefined;
  /** As its status says; undefined: nothing was reported yet. */
  readonly used: number | undefined;
  readonly free: number | undefined;
  readonly rows: readonly Block[];
  /** The whole of it where this node has to do with it: its own, and without allocations one that it has a loan of. */
  readonly full: IpBlock | undefined;
}

/** `node` undefined: of nobody the whole is kept. Throws "invalid". */
export function blockRow(
  object: KubernetesObject,
  before: BlockRow | undefined,
  node: string | undefined,
): BlockRow {
  const status = isMapping(object["status"]) ? object["status"] : {};
  const number = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined);
  const block = decodeBlock(object, false);
  // Its node compares what it has reported with what is so.
  const whole = node !== undefined && block.node === node ? decodeBlock(object) : block;
  return rowOf(whole, before, node, number(status["used"]), number(status["free"]));
}

function rowOf(
  block: IpBlock,
  before: BlockRow | undefined,
  node: string | undefined,
  used: number | undefined,
  free: number | undefined,
): BlockRow {
  const rows = blocksOf(block);
  const mine = node !== undefined && (block.node === node || block.loans.some((l) => l.node === node));
  return {
    version: block.resourceVersion,
    uid: block.uid,
    prefix: block.prefix,
    pool: block.pool,
    node: block.node,
    used,
    free,
    // Most changes are of a status: rows that are the very same ones are quickly compared.
    rows: Bun.deepEquals(before?.rows, rows, true) ? (before as BlockRow).rows : rows,
    full: mine ? block : undefined,
  };
}

/** Written by this node: the row, or undefined when the block of that uid was deleted. */
interface Written {
  readonly row: BlockRow | undefined;
  readonly uid: string;
  /** Of the row; of a block that was deleted, the last that was known, or none: what is older was before. */
  readonly version: string;
  /** How many lists had begun by then: a later one has what came of it, whatever its versions are. */
  readonly lists: number;
}

/** A block of that name which came after the one that was deleted. */
const isAnother = (told: BlockRow | undefined, { uid, version }: Written): boolean =>
  told !== undefined && told.uid !== uid && isOlder(version, told.version);

export class BlockRows {
  readonly #node: string | undefined;
  readonly #told = new Map<string, BlockRow>();
  readonly #written = new Map<string, Written>();
  #lists = 0;

  constructor(node: string | undefined) {
    this.#node = node;
  }

  get size(): number {
    return this.#told.size;
  }

  get(name: string): BlockRow | undefined {
    const written = this.#written.get(name);
    const told = this.#told.get(name);
    if (written === undefined) return told;
    if (written.row === undefined) {
      const isShown = written.version === "" ? told?.uid !== written.uid : isAnother(told, written);
      return isShown ? told : undefined;
    }
    return told !== undefined && isOlder(written.row.version, told.version) ? told : written.row;
  }

  *values(): Generator<BlockRow> {
    for (const [name, told] of this.#told) {
      const row = this.#written.has(name) ? this.get(name) : told;
      if (row !== undefined) yield row;
    }
    for (const [name, { row }] of this.#written) {
      if (row !== undefined && !this.#told.has(name)) yield row;
    }
  }

  tell(name: string, row: BlockRow | undefined, before: BlockRow | undefined): void {
    if (row !== undefined) this.#told.set(name, row);
    else {
      this.#told.delete(name);
      // That very object went; what was written was before.
      if (before !== undefined && before.uid === this.#written.get(name)?.uid) this.#written.delete(name);
    }
  }

  reset(): void {
    this.#told.clear();
  }

  /**
   * The watch has told all up to that version. `begun` is the number of lists that have begun, `complete` that of those of
   * which all has been told.
   */
  settle(version: string | undefined, begun: number, complete: number): void {
    this.#lists = begun;
    for (const [name, written] of this.#written) {
      const { row, lists } = written;
      const told = this.#told.get(name);
      // That a block is gone may be known before the watch tells that it was there.
      const known =
        row === undefined
          ? isAnother(told, written)
          : told !== undefined && !isOlder(told.version, row.version);
      const passed = row !== undefined && version !== undefined && isOlder(row.version, version);
      if (known || passed || lists < complete) this.#written.delete(name);
    }
  }

  write(block: IpBlock): void {
    const name = blockName(block.prefix);
    const before = this.get(name);
    if (before?.uid === block.uid && isOlder(block.resourceVersion, before.version)) return;
    const row = rowOf(block, before, this.#node, before?.used, before?.free);
    this.#written.set(name, { row, uid: block.uid, version: row.version, lists: this.#lists });
  }

  remove(name: string, uid: string): void {
    const written = this.#written.get(name);
    // Written since: what is gone was before.
    if (written?.row !== undefined && written.uid !== uid) return;
    const now = this.get(name) ?? this.#told.get(name);
    const version = now?.uid === uid ? now.version : (written?.version ?? "");
    this.#written.set(name, { row: undefined, uid, version, lists: this.#lists });
  }
}
