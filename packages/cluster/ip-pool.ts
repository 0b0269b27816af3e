/** IPPool (weft.network/v1alpha1) into its row. */
import { familyOf, type Prefix, prefixLength } from "@weft/base";
import type { IpPool } from "@weft/model";
import { prefixOf, refuseSpecial } from "./addresses.ts";
import { type Field, isMapping } from "./field.ts";
import { originOf, readMetadata } from "./metadata.ts";
import { readSelector } from "./selector.ts";
import { hasEffect, type Notes, noteOthers } from "./unhonoured.ts";

/** Prefix lengths of blocks: a block has at most 4096 addresses. */
const BLOCK_SIZES = {
  4: { usual: 26, least: 20, most: 32 },
  6: { usual: 122, least: 116, most: 128 },
} as const;

/** An IPPool as its author wrote it, whatever became of it. */
export interface IpPoolSpec {
  readonly cidr: Prefix;
  readonly blockSize: number;
}

/**
 * Range and block size are those that were accepted, once they were: a later change of `spec` has no effect but that the
 * pool is not ready.
 */
export function readIpPool(object: Field, notes: Notes): IpPool {
  const metadata = readMetadata(object, notes);
  noteOthers(object, ["apiVersion", "kind", "metadata", "spec", "status"], [], notes);
  const spec = object.at("spec");
  noteOthers(
    spec,
    ["cidr", "blockSize", "nodeSelector", "namespaceSelector", "natOutgoing", "disabled"],
    [],
    notes,
  );
  const asked = readRange(spec);
  const status = object.at("status");
  const accepted = status.at("cidr").present ? readRange(status) : undefined;
  const range = accepted ?? asked;
  const unchanged =
    accepted !== undefined && accepted.cidr === asked.cidr && accepted.blockSize === asked.blockSize;
  return {
    name: metadata.name ?? "",
    uid: metadata.uid ?? "",
    ...range,
    nodeSelector: readSelector(spec.at("nodeSelector"), notes),
    namespaceSelector: readSelector(spec.at("namespaceSelector"), notes),
    natOutgoing: spec.at("natOutgoing").boolean(),
    disabled:
      spec.at("disabled").boolean() === true ||
      hasEffect(object.at("metadata").at("deletionTimestamp").value),
    ready: unchanged && isReady(status.at("conditions").value),
    created: timeOf(object.at("metadata").at("creationTimestamp").value) ?? 0,
    origin: originOf("IPPool", metadata, false),
  };
}

/** `cidr` and `blockSize` of a spec or a status. */
export function readRange(field: Field): IpPoolSpec {
  const text = field.at("cidr");
  const cidr = prefixOf(text);
  if (cidr === undefined) return NOWHERE;
  refuseSpecial(text, cidr);
  const { usual, least, most } = BLOCK_SIZES[familyOf(cidr)];
  const length = prefixLength(cidr);
  const size = field.at("blockSize");
  const blockSize = size.integer(Math.max(least, length), most) ?? Math.max(usual, length);
  return { cidr, blockSize };
}

/** Never used: whoever gets it has been told of a fault. */
const NOWHERE: IpPoolSpec = { cidr: "" as Prefix, blockSize: 0 };

const isReady = (conditions: unknown): boolean =>
  Array.isArray(conditions) &&
  conditions.some((c: unknown) => isMapping(c) && c["type"] === "Ready" && c["status"] === "True");

/** Milliseconds since the epoch of a time as RFC 3339 has it; undefined for anything else. */
export function timeOf(value: unknown): number | undefined {
  const time = typeof value === "string" ? Date.parse(value) : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
}
