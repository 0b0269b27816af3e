/** The objects of several files put together: duplicates and contradictions between them. */
import type { Block, EndpointSlice, Node, Pod, Service, ServiceRange } from "@weft/model";
import { type FileReading, type ManifestObject, readObjects } from "./objects.ts";
import { Ranges } from "./ranges.ts";

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
  /** Ranges and addresses that two nodes have; each is one of `errors` too. */
  readonly conflicts: readonly Conflict[];
  /** The objects themselves, where they are wanted. */
  readonly sources?: readonly { key: string; place: string; value: Readonly<Record<string, unknown>> }[];
}

/** A range or an address of a node that another node has as well, and keeps. */
export interface Conflict {
  readonly node: string;
  /** Uid of the node's object, if it has one. */
  readonly uid: string | undefined;
  /** Of the node: "spec.podCIDRs[0]", "status.addresses". */
  readonly field: string;
  readonly value: string;
  readonly holder: string;
  readonly held: string;
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
  // Who comes first keeps what two of them claim: the older one, where that is known.
  const byAge = objects.toSorted((a, b) => (a.created ?? 0) - (b.created ?? 0));
  const found: Found = { errors, conflicts: [] };
  const blocks = withoutOverlaps(byAge, found);
  const nodes = withoutSharedAddresses(byAge, found);
  return {
    nodes: objects.flatMap((o) => o.nodes.map((n) => nodes.get(n) ?? n)),
    blocks: objects.flatMap((o) => o.blocks.filter((b) => blocks.has(b))),
    pods: objects.flatMap((o) => o.pods),
    services: objects.flatMap((o) => o.services),
    endpointSlices: objects.flatMap((o) => o.endpointSlices),
    serviceRanges: objects.flatMap((o) => o.serviceRanges),
    warnings: files.flatMap((f) => f.warnings),
    errors,
    conflicts: found.conflicts,
    ...sourcesOf(objects),
  };
}

function sourcesOf(objects: readonly ManifestObject[]): Pick<ManifestRows, "sources"> {
  const sources = objects.flatMap(({ key, place, value }) =>
    value === undefined ? [] : [{ key, place, value }],
  );
  return sources.length === 0 ? {} : { sources };
}

interface Found {
  readonly errors: string[];
  readonly conflicts: Conflict[];
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Blocks of which no two overlap: of those that do, the node that comes first keeps its own. */
function withoutOverlaps(objects: readonly ManifestObject[], { errors, conflicts }: Found): Set<Block> {
  const kept = new Set<Block>();
  const ranges = new Ranges<{ block: Block; place: string }>();
  for (const { blocks, place } of objects) {
    for (const block of blocks) {
      const other = ranges.overlapping(block.prefix);
      if (other !== undefined) {
        errors.push(
          `${place}: Node ${block.node}: ${block.origin.field}: Invalid value: "${block.prefix}": overlaps ` +
            `${other.block.prefix} of Node ${other.block.node} (${other.place}), which keeps it`,
        );
        conflicts.push({
          node: block.node,
          uid: block.origin.uid,
          field: block.origin.field ?? "spec.podCIDRs",
          value: block.prefix,
          holder: other.block.node,
          held: other.block.prefix,
        });
        continue;
      }
      ranges.put(block.prefix, { block, place });
      kept.add(block);
    }
  }
  return kept;
}

/** What stands in the place of nodes that lose an address: the node that comes first keeps what two of them have. */
function withoutSharedAddresses(
  objects: readonly ManifestObject[],
  { errors, conflicts }: Found,
): Map<Node, Node> {
  const holders = new Map<string, { node: Node; place: string }>();
  const changed = new Map<Node, Node>();
  for (const { nodes, place } of objects) {
    for (const node of nodes) {
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
        const { uid } = node.origin;
        const field = "status.addresses";
        conflicts.push({
          node: node.name,
          uid,
          field,
          value: address,
          holder: other.node.name,
          held: address,
        });
        return false;
      });
      if (addresses.length < node.addresses.length) changed.set(node, { ...node, addresses });
    }
  }
  return changed;
}
