/**
 * nftables of one network namespace. Elements, which are many and change often, go straight to the kernel by
 * nfnetlink (transaction.ts); tables, chains and rules, which are few, by nft's own language (script.ts).
 */
import { type Family, ipFromBytes, WeftError } from "@weft/base";
import { NETLINK, type NetlinkMessage, NetlinkSocket, NetlinkWriter } from "../netlink/index.ts";
import type {
  BaseChain,
  ForeignDrop,
  IpRange,
  NetworkNamespace,
  Nftables,
  NftFamily,
  SetElement,
  SetField,
  TableContents,
} from "../port.ts";
import { hasErrno, SysError } from "../sys/errno.ts";
import { setBuffer } from "../sys/socket.ts";
import { encodeBatch, type NftStep, type RawElement } from "./batch.ts";
import { checkLayout, setError, unsupported } from "./check.ts";
import {
  FAMILY_NUMBER,
  messageType,
  NFPROTO_UNSPEC,
  NFT_MSG_GETCHAIN,
  NFT_MSG_GETGEN,
  NFT_MSG_GETRULE,
  NFT_MSG_GETSET,
  NFT_MSG_GETSETELEM,
  NFT_MSG_GETTABLE,
  NFT_SET_ELEM_CATCHALL,
  NFT_TABLE_F_DORMANT,
  NFTA_RULE_TABLE,
  NFTA_SET_ELEM_LIST_SET,
  NFTA_SET_ELEM_LIST_TABLE,
  NFTA_SET_NAME,
  NFTA_SET_TABLE,
  NFTA_TABLE_NAME,
} from "./constants.ts";
import {
  type RawElement as DecodedElement,
  decodeBaseChain,
  decodeChain,
  decodeElements,
  decodeGeneration,
  decodeRawElements,
  decodeRule,
  decodeRuleComment,
  decodeSet,
  decodeSetSize,
  decodeTable,
  generationOf,
  type SetInfo,
  type Verdict,
} from "./decode.ts";
import { foreignDrop, isOwn, reachesDrop, seesForwarded } from "./drops.ts";
import { decodeFields, encodeFields, layoutOf } from "./layout.ts";
import { checkRangeSet, checkRanges, effectOf, hasEnd, rangesOf, rangeTransaction } from "./ranges.ts";
import { runScript } from "./script.ts";
import {
  describeSet,
  type ElementLayout,
  type ElementOperation,
  elementRequest,
  elementTransactions,
  layoutOfElements,
  nfgenmsg,
  type SetName,
} from "./transaction.ts";

export interface NftablesOptions {
  /** Bytes of the largest transaction of addElements and deleteElements. Default 16 MiB, some 300,000 elements. */
  readonly maxTransaction?: number;
  /** Whether the kernel has NFT_MSG_DESTROYSETELEM (Linux 6.3). Default: found out at the first deletion. */
  readonly destroy?: boolean;
}

/** Nftables with a socket to give back. */
export interface NftablesHandle extends Nftables {
  close(): void;
}

const DEFAULT_MAX_TRANSACTION = 16 << 20;
/** What the kernel wants to have left of a send buffer. */
const SPARE = 64 << 10;
const TRIES = 16;

/** nftables of the namespace, whose descriptor must stay open. The first call opens a socket in it. */
export function createNftables(
  namespace: Pick<NetworkNamespace, "fd">,
  options: NftablesOptions = {},
): NftablesHandle {
  return new KernelNftables(namespace.fd, options);
}

class KernelNftables implements NftablesHandle {
  readonly #fd: number;
  readonly #maxTransaction: number;
  #destroy: boolean | undefined;
  #socket: NetlinkSocket | undefined;

  constructor(fd: number, options: NftablesOptions) {
    this.#fd = fd;
    this.#maxTransaction = options.maxTransaction ?? DEFAULT_MAX_TRANSACTION;
    this.#destroy = options.destroy;
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  run(script: string): Promise<void> {
    return runScript(this.#fd, script);
  }

  commit(family: NftFamily, table: string, steps: readonly NftStep[]): void {
    if (steps.length === 0) return;
    const { bytes, objects } = encodeBatch(family, table, steps);
    const call = { call: "nftables", object: `table ${family} ${table}` };
    const socket = this.#open();
    // It cannot be split: whoever makes a table with all that is in it wants no other moment.
    if (bytes.length > this.#maxTransaction) setBuffer(socket.fd, "send", bytes.length + SPARE);
    const { errors, acknowledged } = socket.batch(bytes, call);
    for (const [index, error] of errors) throw stepError(error, family, table, objects[index]);
    if (acknowledged !== 1) {
      throw new WeftError(
        "internal",
        `table ${family} ${table}: the kernel did not acknowledge the transaction`,
      );
    }
  }

  generation(): number {
    const [answer] = this.#open().request(get(NFT_MSG_GETGEN).finish(), { call: "NFT_MSG_GETGEN" });
    if (answer === undefined) throw new WeftError("internal", "NFT_MSG_GETGEN: no answer");
    return decodeGeneration(answer);
  }

  contents(family: NftFamily, table: string): TableContents | undefined {
    const object = `table ${family} ${table}`;
    const inTable = (message: number): NetlinkMessage[] =>
      // The table's name is attribute 1 of sets, chains and rules.
      this.#dump(get(message, family).string(NFTA_RULE_TABLE, table).finish(), "nftables", object);
    const found = this.#dump(get(NFT_MSG_GETTABLE, family).finish(), "NFT_MSG_GETTABLE")
      .map(decodeTable)
      .find((t) => t.table === table && t.family === family);
    if (found === undefined) return undefined;
    const chains = inTable(NFT_MSG_GETCHAIN).map(decodeChain);
    return {
      comment: found.comment,
      dormant: (found.flags & NFT_TABLE_F_DORMANT) !== 0,
      sets: inTable(NFT_MSG_GETSET).map(decodeSetSize),
      // Dumps of chains are of the whole family in some kernels.
      chains: chains.filter((c) => c.table === table).map(({ chain, base }) => ({ chain, base })),
      rules: inTable(NFT_MSG_GETRULE).map(decodeRuleComment),
    };
  }

  rawElements(family: NftFamily, table: string, set: string): RawElement[] {
    const name = { family, table, set };
    try {
      return this.#dumpElements(name, decodeRawElements);
    } catch (error) {
      throw setError(error, name);
    }
  }

  tableExists(family: NftFamily, table: string): boolean {
    const request = get(NFT_MSG_GETTABLE, family).string(NFTA_TABLE_NAME, table).finish();
    try {
      this.#open().request(request, { call: "NFT_MSG_GETTABLE", object: `table ${family} ${table}` });
      return true;
    } catch (error) {
      if (hasErrno(error, "ENOENT")) return false;
      throw error;
    }
  }

  ruleCount(family: NftFamily, table: string): number {
    const request = get(NFT_MSG_GETRULE, family).string(NFTA_RULE_TABLE, table).finish();
    return this.#dump(request, "NFT_MSG_GETRULE", `table ${family} ${table}`).length;
  }

  baseChains(): BaseChain[] {
    return this.#dump(get(NFT_MSG_GETCHAIN).finish(), "NFT_MSG_GETCHAIN")
      .map(decodeBaseChain)
      .filter((chain) => chain !== undefined);
  }

  foreignDrops(ownTable: string): ForeignDrop[] {
    const dormant = new Set(
      this.#dump(get(NFT_MSG_GETTABLE).finish(), "NFT_MSG_GETTABLE")
        .map(decodeTable)
        .filter((table) => (table.flags & NFT_TABLE_F_DORMANT) !== 0)
        .map(({ family, table }) => `${family} ${table}`),
    );
    const chains = this.baseChains().filter(
      (c) => seesForwarded(c) && !isOwn(c.table, ownTable) && !dormant.has(`${c.family} ${c.table}`),
    );
    const drops: ForeignDrop[] = [];
    for (const group of Map.groupBy(chains, (c) => `${c.family} ${c.table}`).values()) {
      const { family, table } = group[0] as BaseChain;
      const request = get(NFT_MSG_GETRULE, family).string(NFTA_RULE_TABLE, table).finish();
      const rules = this.#dump(request, "NFT_MSG_GETRULE", `table ${family} ${table}`).map(decodeRule);
      const verdicts = (set: string): Verdict[] =>
        this.#dumpElements({ family, table, set })
          .map((element) => element.verdict)
          .filter((verdict) => verdict !== undefined);
      for (const chain of group) {
        const row = foreignDrop(chain, reachesDrop(chain.name, rules, verdicts));
        if (row !== undefined) drops.push(row);
      }
    }
    return drops;
  }

  addElements(family: NftFamily, table: string, set: string, elements: readonly SetElement[]): void {
    if (elements.length === 0) return;
    const name = { family, table, set };
    const info = this.#setInfo(name);
    const layout = layoutOfElements(elements);
    checkLayout(name, info, layout, true);
    try {
      this.#commit(name, "add", layout, elements);
    } catch (error) {
      if (layout.value === undefined || !isClash(error)) throw error;
      this.#replaceElements(name, layout, elements);
    }
  }

  deleteElements(family: NftFamily, table: string, set: string, elements: readonly SetElement[]): void {
    if (elements.length === 0) return;
    const name = { family, table, set };
    const layout = { key: layoutOfElements(elements).key, value: undefined };
    try {
      checkLayout(name, this.#setInfo(name), layout, false);
      if (this.#hasDestroy()) this.#commit(name, "destroy", layout, elements);
      else this.#deletePresent(name, layout, elements);
    } catch (error) {
      if (!hasErrno(error, "ENOENT")) throw error;
    }
  }

  presentElements(
    family: NftFamily,
    table: string,
    set: string,
    elements: readonly SetElement[],
  ): SetElement[] {
    if (elements.length === 0) return [];
    const name = { family, table, set };
    const layout = { key: layoutOfElements(elements).key, value: undefined };
    checkLayout(name, this.#setInfo(name), layout, false);
    return elements.filter((element) => this.#has(name, layout, element));
  }

  elements(
    family: NftFamily,
    table: string,
    set: string,
    key: readonly SetField["type"][],
    addressFamily: Family,
    value?: readonly SetField["type"][],
  ): SetElement[] {
    const name = { family, table, set };
    const keyLayout = layoutOf(key, addressFamily);
    const valueLayout = value === undefined ? undefined : layoutOf(value, addressFamily);
    checkLayout(name, this.#setInfo(name), { key: keyLayout, value: valueLayout }, valueLayout !== undefined);
    return this.#dumpElements(name).map((element) => {
      if (element.key === undefined || (element.flags & NFT_SET_ELEM_CATCHALL) !== 0) {
        throw unsupported(name, "has an element for all other keys");
      }
      const fields = decodeFields(keyLayout, element.key);
      if (valueLayout === undefined) return { key: fields };
      if (element.value === undefined) throw unsupported(name, "has an element without a value");
      return { key: fields, value: decodeFields(valueLayout, element.value) };
    });
  }

  ranges(family: NftFamily, table: string, set: string, addressFamily: Family): IpRange[] {
    const name = { family, table, set };
    checkRangeSet(name, this.#setInfo(name), addressFamily);
    return rangesOf(this.#dumpElements(name));
  }

  changeRanges(
    family: NftFamily,
    table: string,
    set: string,
    remove: readonly IpRange[],
    add: readonly IpRange[],
  ): void {
    if (remove.length + add.length === 0) return;
    const name = { family, table, set };
    const addressFamily = checkRanges(name, remove, add);
    try {
      checkRangeSet(name, this.#setInfo(name), addressFamily);
      // The kernel itself finds overlaps of ranges that have an end: then nothing else needs to be read.
      const bounded = remove.length === 0 && add.every(hasEnd) && !this.#holdsHighest(name, addressFamily);
      if (bounded && this.#tryRanges(name, [], add, true)) return;
      for (let tries = 0; tries < TRIES; tries++) {
        const effect = effectOf(name, rangesOf(this.#dumpElements(name)), remove, add);
        if (effect.remove.length + effect.add.length === 0) return;
        if (this.#tryRanges(name, effect.remove, effect.add, false)) return;
      }
    } catch (error) {
      if (add.length === 0 && hasErrno(error, "ENOENT")) return;
      throw error;
    }
    throw new WeftError("busy", `${describeSet(name)}: its ranges kept changing`, {
      object: describeSet(name),
      hint: "Try again when less is changing; if it stays so, delete the set's table.",
    });
  }

  /** True if the highest address is in the set: the range that it is in has no end. */
  #holdsHighest(name: SetName, family: Family): boolean {
    const value = ipFromBytes(new Uint8Array(family === 4 ? 4 : 16).fill(0xff));
    return this.#has(
      name,
      { key: layoutOf(["ip"], family), value: undefined },
      { key: [{ type: "ip", value }] },
    );
  }

  #has(name: SetName, layout: ElementLayout, element: SetElement): boolean {
    try {
      const call = { call: "NFT_MSG_GETSETELEM", object: describeSet(name) };
      this.#open().request(elementRequest(name, layout, element), call);
      return true;
    } catch (error) {
      if (hasErrno(error, "ENOENT")) return false;
      throw setError(error, name);
    }
  }

  /** False when the set does not hold what it was thought to hold. */
  #tryRanges(
    name: SetName,
    remove: readonly IpRange[],
    add: readonly IpRange[],
    exclusive: boolean,
  ): boolean {
    const call = add.length > 0 ? "NFT_MSG_NEWSETELEM" : "NFT_MSG_DELSETELEM";
    try {
      this.#transact(name, call, rangeTransaction(name, remove, add, exclusive));
      return true;
    } catch (error) {
      if (["EEXIST", "ENOTEMPTY", "ENOENT"].some((errno) => hasErrno(error, errno))) return false;
      throw error;
    }
  }

  #open(): NetlinkSocket {
    this.#socket ??= new NetlinkSocket(NETLINK.netfilter, {
      namespace: this.#fd,
      sendBuffer: this.#maxTransaction + SPARE,
    });
    return this.#socket;
  }

  #dump(request: Uint8Array, call: string, object?: string): NetlinkMessage[] {
    return this.#open().dump(request, object === undefined ? { call } : { call, object });
  }

  /**
   * A dump is read in pieces, each of which counts the elements anew to find where the last one ended. One during
   * which the ruleset changed is repeated, and so is one with an element twice: the kernel moves the elements of
   * a set that has grown or shrunk to another table in the background, whereby some come twice and others not
   * at all, with no change to the generation.
   */
  #dumpElements<E extends ElementIdentity = DecodedElement>(
    name: SetName,
    decode: (message: NetlinkMessage) => E[] = decodeElements as (message: NetlinkMessage) => never[],
  ): E[] {
    const request = get(NFT_MSG_GETSETELEM, name.family)
      .string(NFTA_SET_ELEM_LIST_TABLE, name.table)
      .string(NFTA_SET_ELEM_LIST_SET, name.set)
      .finish();
    for (let tries = 0; tries < TRIES; tries++) {
      const messages = this.#dump(request, "NFT_MSG_GETSETELEM", describeSet(name));
      const first = messages[0];
      if (first === undefined) return [];
      const generation = generationOf(first);
      if (messages.some((m) => generationOf(m) !== generation)) continue;
      const elements = messages.flatMap(decode);
      if (new Set(elements.map(identityOf)).size === elements.length) return elements;
    }
    throw new WeftError("busy", `the set changed during each of ${TRIES} dumps`, {
      object: describeSet(name),
      hint: "Try again when less is changing.",
    });
  }

  /** Throws SysError ENOENT, "not-found", when there is no such set. */
  #setInfo(name: SetName): SetInfo {
    const request = get(NFT_MSG_GETSET, name.family)
      .string(NFTA_SET_TABLE, name.table)
      .string(NFTA_SET_NAME, name.set)
      .finish();
    try {
      const [answer] = this.#open().request(request, { call: "NFT_MSG_GETSET", object: describeSet(name) });
      if (answer === undefined) throw new WeftError("internal", `${describeSet(name)}: no answer`);
      return decodeSet(answer);
    } catch (error) {
      throw setError(error, name);
    }
  }

  /** Brings all elements into the kernel in as few transactions as fit. */
  #commit(
    name: SetName,
    operation: ElementOperation,
    layout: ElementLayout,
    elements: readonly SetElement[],
  ): void {
    const call = operation === "add" || operation === "replace" ? "NFT_MSG_NEWSETELEM" : "NFT_MSG_DELSETELEM";
    for (const bytes of elementTransactions(name, operation, layout, elements, this.#maxTransaction))
      this.#transact(name, call, bytes);
  }

  #transact(name: SetName, call: string, bytes: Uint8Array): void {
    const { errors, acknowledged } = this.#open().batch(bytes, { call, object: describeSet(name) });
    for (const error of errors.values()) throw setError(error, name);
    if (acknowledged !== 1) {
      throw new WeftError("internal", `${call} ${describeSet(name)}: the kernel did not acknowledge it`, {
        object: describeSet(name),
      });
    }
  }

  /**
   * Kernels before 6.3 do not know NFT_MSG_DESTROYSETELEM and answer EINVAL; later ones find no table of that
   * name, which nft's grammar does not allow.
   */
  #hasDestroy(): boolean {
    if (this.#destroy === undefined) {
      const element: SetElement = { key: [{ type: "mark", value: 0 }] };
      const nowhere: SetName = { family: "inet", table: "?", set: "?" };
      try {
        this.#commit(nowhere, "destroy", layoutOfElements([element]), [element]);
      } catch (error) {
        this.#destroy = hasErrno(error, "ENOENT");
        if (!this.#destroy && !hasErrno(error, "EINVAL") && !hasErrno(error, "EOPNOTSUPP")) throw error;
      }
    }
    return this.#destroy === true;
  }

  /** Deletes those of the elements that are there; again, when another has deleted some meanwhile. */
  #deletePresent(name: SetName, layout: ElementLayout, elements: readonly SetElement[]): void {
    for (let tries = 0; tries < TRIES; tries++) {
      const present = this.#present(name, layout, elements);
      if (present.length === 0) return;
      try {
        this.#commit(name, "delete", layout, present);
        return;
      } catch (error) {
        if (!hasErrno(error, "ENOENT")) throw error;
      }
    }
    throw new WeftError("busy", `${describeSet(name)}: its elements kept changing`, {
      object: describeSet(name),
    });
  }

  /** Those of the elements that the kernel's set has, each once. */
  #present(name: SetName, layout: ElementLayout, elements: readonly SetElement[]): SetElement[] {
    const keys = new Set<string>();
    for (const { key } of this.#dumpElements(name)) {
      if (key !== undefined) keys.add(Buffer.from(key).toString("latin1"));
    }
    const bytes = Buffer.alloc(layout.key.length);
    return elements.filter((element) => {
      encodeFields(layout.key, element.key, bytes.fill(0), 0);
      return keys.delete(bytes.toString("latin1"));
    });
  }

  #replaceElements(name: SetName, layout: ElementLayout, elements: readonly SetElement[]): void {
    try {
      if (this.#hasDestroy()) {
        this.#commit(name, "replace", layout, elements);
      } else {
        this.#deletePresent(name, { key: layout.key, value: undefined }, elements);
        this.#commit(name, "add", layout, elements);
      }
    } catch (error) {
      if (!isClash(error)) throw error;
      throw new WeftError("invalid", `${describeSet(name)}: a key comes twice, with different values`, {
        object: describeSet(name),
        cause: error,
      });
    }
  }
}

/** The end of an interval may have the key that the next one begins with. */
interface ElementIdentity {
  readonly key: Uint8Array | undefined;
  readonly flags?: number;
  readonly intervalEnd?: boolean;
}
const identityOf = ({ key, flags, intervalEnd }: ElementIdentity): string => {
  const text =
    key === undefined ? "" : Buffer.from(key.buffer, key.byteOffset, key.length).toString("latin1");
  return flags || intervalEnd ? `${flags ?? 1} ${text}` : text;
};

/** The error of a step: the table, and what in it the kernel refused. */
function stepError(error: SysError, family: NftFamily, table: string, what = "step"): SysError {
  return new SysError("nftables", error.errno, {
    object: what === "table" ? `table ${family} ${table}` : `table ${family} ${table} ${what}`,
    kernelMessage: error.kernelMessage,
    offset: error.offset,
    cause: error,
    ...(error.errnoName === "ENOENT"
      ? { hint: "Something that it names is not there: somebody may have changed the table." }
      : {}),
  });
}

/** A map has one of the keys with another value: EEXIST, or EBUSY in older kernels. */
const isClash = (error: unknown): boolean => hasErrno(error, "EEXIST") || hasErrno(error, "EBUSY");

/** A request for something of a family, or of all families. */
const get = (message: number, family?: NftFamily): NetlinkWriter =>
  new NetlinkWriter()
    .begin(messageType(message), 0)
    .raw(nfgenmsg(family === undefined ? NFPROTO_UNSPEC : FAMILY_NUMBER[family]));
