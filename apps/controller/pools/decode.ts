/** IPPools, IPBlocks, Nodes and ServiceCIDRs as the controller looks at them. What is malformed is told, never thrown. */
import { describeError, type IpAddress, type Prefix, parseIp, parsePrefix } from "@weft/base";
import { decodeBlock, decodePool, type KubernetesObject } from "@weft/cluster/client";
import type { IpBlock } from "@weft/model";

export interface Range {
  readonly cidr: Prefix;
  readonly blockSize: number;
}

export interface PoolRow {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation: number;
  /** Milliseconds since the epoch. */
  readonly created: number;
  readonly deleting: boolean;
  readonly finalizers: readonly string[];
  readonly disabled: boolean;
  /** What its author asks for; undefined when it cannot be read, which is what `fault` says. */
  readonly asked: Range | undefined;
  readonly fault: string | undefined;
  /** What has been accepted. */
  readonly accepted: Range | undefined;
  /** As it is written now. */
  readonly status: unknown;
}

export interface BlockRow {
  readonly name: string;
  readonly uid: string;
  readonly prefix: Prefix;
  readonly pool: string;
  readonly poolUid: string;
  readonly node: string | undefined;
  /** Nodes that have or want a loan of it, as long as they have not returned it. */
  readonly borrowers: readonly string[];
  /** Something is to be done about loans, whoever is gone: it has no node, and loans. */
  readonly abandoned: boolean;
  readonly used: number;
}

type Fields = Readonly<Record<string, unknown>>;
const fields = (value: unknown): Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const number = (value: unknown): number => (typeof value === "number" ? value : 0);

export function decodePoolRow(object: KubernetesObject): PoolRow {
  const { metadata } = object;
  const { cidr, blockSize } = fields(object["status"]);
  const created = Date.parse(String(metadata["creationTimestamp"]));
  return {
    name: metadata.name,
    uid: metadata.uid ?? "",
    resourceVersion: metadata.resourceVersion ?? "",
    generation: number(metadata["generation"]),
    created: Number.isNaN(created) ? 0 : created,
    deleting: metadata["deletionTimestamp"] !== undefined,
    finalizers: list(metadata["finalizers"]).map(String),
    disabled: fields(object["spec"])["disabled"] === true,
    ...asked(object),
    accepted:
      typeof cidr === "string" && typeof blockSize === "number"
        ? { cidr: cidr as Prefix, blockSize }
        : undefined,
    status: object["status"],
  };
}

/** Without its status, which has what was accepted, the row has what is asked for. */
function asked(object: KubernetesObject): Pick<PoolRow, "asked" | "fault"> {
  try {
    const { cidr, blockSize } = decodePool({ ...object, status: {} });
    return { asked: { cidr, blockSize }, fault: undefined };
  } catch (error) {
    return { asked: undefined, fault: describeError(error) };
  }
}

/** Throws "invalid". */
export function decodeBlockRow(object: KubernetesObject): BlockRow {
  const block: IpBlock = decodeBlock(object, false);
  return {
    name: block.name,
    uid: block.uid,
    prefix: block.prefix,
    pool: block.pool,
    poolUid: block.poolUid,
    node: block.node,
    borrowers: [...new Set(block.loans.filter((l) => !l.returned).map((l) => l.node))],
    abandoned: block.node === undefined,
    used: number(fields(object["status"])["used"]),
  };
}

export interface NodeRanges {
  readonly ranges: readonly Prefix[];
  readonly addresses: readonly IpAddress[];
}

/** What of it can be read: a Node is not ours to complain about. */
export function nodeRanges(object: KubernetesObject): NodeRanges {
  const { podCIDR, podCIDRs } = fields(object["spec"]);
  const ranges = [...new Set([...list(podCIDRs), podCIDR])];
  const addresses = list(fields(object["status"])["addresses"]).map((a) => fields(a)["address"]);
  return { ranges: ranges.flatMap(read(parsePrefix)), addresses: addresses.flatMap(read(parseIp)) };
}

export const serviceRanges = (object: KubernetesObject): readonly Prefix[] =>
  list(fields(object["spec"])["cidrs"]).flatMap(read(parsePrefix));

const read =
  <T>(parse: (text: string) => T) =>
  (value: unknown): T[] => {
    try {
      return typeof value === "string" ? [parse(value)] : [];
    } catch {
      return [];
    }
  };
