/** The objects of several files put together: duplicates and contradictions between them. */
import { familyOf, makePrefix, overlaps, prefixIp, prefixLength } from "@weft/base";
import type { Block, EndpointSlice, Node, Pod, Service, ServiceRange } from "@weft/model";
import { type FileReading, type ManifestObject, readObjects } from "./objects.ts";

export interface ManifestRows {
  /** By name. */
  readonly nodes: readonly Node[];
  /** By node, then in the order of the node's list. */
  readonly blocks: readonly Block[];
  /** By namespace and name. */
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  readonly endpointSlices: readonly EndpointSlice[];
  readonly serviceRanges: readonly ServiceRange[];
  /** Each with file and line: fields and kinds that have no effect. */
  readonly warnings: readonly string[];
  /** Each with file and line: what gave no rows, and why. */
  readonly errors: readonly string[];
}

/**
 * Rows of a text of YAML or JSON documents. Never throws: an object with faults gives no rows and one error
 * for each of its faults; the other objects of the text are not affected.
 */
export function parseManifests(text: string, file: string): ManifestRows {
  return combine([readObjects(text, file)]);
}

/** A file's reading; objects that only an earlier reading still had are in `retained`. */
export interface FileRows extends FileReading {
  readonly retained?: readonly ManifestObject[];
}

/**
 * Rows of files in their order. Of an object that is there twice the first is taken; what is only retained
 * gives way to what is there now.
 */
export function combine(files: readonly FileRows[]): ManifestRows {
  const errors: string[] = files.flatMap((f) => f.errors);
  const chosen = new Map<string, ManifestObject>();
  for (const object of files.flatMap((f) => f.objects)) {
    const first = chosen.get(object.key);
    if (first === undefined) chosen.set(object.key, object);
    else
      errors.push(
        `${object.place}: ${object.key}: is in ${first.place} too; the one in ${first.place} is used`,
      );
  }
  for (const object of files.flatMap((f) => f.retained ?? [])) {
    if (!chosen.has(object.key)) chosen.set(object.key, object);
  }
  const objects = [...chosen.values()].sort((a, b) => compareText(a.key, b.key));
  const blocks = withoutOverlaps(objects, errors);
  return {
    nodes: withoutSharedAddresses(objects, errors),
    blocks,
    pods: objects.flatMap((o) => o.pods),
    services: objects.flatMap((o) => o.services),
    endpointSlices: objects.flatMap((o) => o.endpointSlices),
    serviceRanges: objects.flatMap((o) => o.serviceRanges),
    warnings: files.flatMap((f) => f.warnings),
    errors,
  };
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Blocks of which no two overlap: of those that do, the node that comes first by name keeps its own. */
function withoutOverlaps(objects: readonly ManifestObject[], errors: string[]): Block[] {
  const kept: { block: Block; place: string }[] = [];
  // By family and length: nearly always one length is in use, and then one lookup finds what overlaps.
  const byLength = new Map<string, Map<string, (typeof kept)[number]>>();
  for (const { blocks, place } of objects) {
    for (const block of blocks) {
      const other = overlapping(block.prefix, byLength);
      if (other !== undefined) {
        errors.push(
          `${place}: Node ${block.node}: ${block.origin.field}: Invalid value: "${block.prefix}": overlaps ` +
            `${other.block.prefix} of Node ${other.block.node} (${other.place}), which keeps it`,
        );
        continue;
      }
      const entry = { block, place };
      const group = `${familyOf(block.prefix)}/${prefixLength(block.prefix)}`;
      byLength.set(group, (byLength.get(group) ?? new Map()).set(block.prefix, entry));
      kept.push(entry);
    }
  }
  return kept.map((k) => k.block);
}

function overlapping<T>(
  prefix: string,
  byLength: ReadonlyMap<string, ReadonlyMap<string, T>>,
): T | undefined {
  for (const [group, entries] of byLength) {
    const length = prefixLength(group);
    if (group[0] !== String(familyOf(prefix))) continue;
    if (length <= prefixLength(prefix)) {
      const found = entries.get(makePrefix(prefixIp(prefix), length));
      if (found !== undefined) return found;
    } else {
      for (const [other, entry] of entries) if (overlaps(prefix, other)) return entry;
    }
  }
  return undefined;
}

/** Nodes of which no two have the same address: the one that comes first by name keeps it. */
function withoutSharedAddresses(objects: readonly ManifestObject[], errors: string[]): Node[] {
  const holders = new Map<string, { node: Node; place: string }>();
  return objects.flatMap(({ nodes, place }) =>
    nodes.map((node) => {
      const addresses = node.addresses.filter((address) => {
        const other = holders.get(address);
        if (other === undefined) {
          holders.set(address, { node, place });
          return true;
        }
        errors.push(
          `${place}: Node ${node.name}: status.addresses: Invalid value: "${address}": is an address of Node ` +
            `${other.node.name} (${other.place}) too, which keeps it`,
        );
        return false;
      });
      return addresses.length === node.addresses.length ? node : { ...node, addresses };
    }),
  );
}
