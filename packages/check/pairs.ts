/**
 * Which ordered pairs of endpoints are tested. All of them when there are few; otherwise a sample that is the same
 * for the same seed, in which every endpoint is at least once source and once destination and every ordered pair of
 * nodes occurs. That coverage is kept even where it alone needs more pairs than asked for.
 */
import { seededRandom } from "@weft/base";

/** What a choice of pairs needs to know of an endpoint. */
export interface PairEndpoint {
  readonly node: string;
  readonly families: ReadonlySet<number>;
  /** Pods are preferred over nodes when one endpoint stands for its node. */
  readonly isPod: boolean;
}

export interface PairChoice {
  /** [source, destination] as indexes, ordered by source. */
  readonly pairs: readonly (readonly [number, number])[];
  /** Pairs that share a family. */
  readonly total: number;
  readonly sampled: boolean;
}

export function choosePairs(endpoints: readonly PairEndpoint[], maxPairs: number, seed: number): PairChoice {
  const testable = (a: number, b: number): boolean => shareFamily(endpoints[a]!, endpoints[b]!);
  const total = countTestable(endpoints);
  if (total <= maxPairs) {
    const pairs: [number, number][] = [];
    for (let a = 0; a < endpoints.length; a++) {
      for (let b = 0; b < endpoints.length; b++) if (testable(a, b)) pairs.push([a, b]);
    }
    return { pairs, total, sampled: false };
  }

  const random = seededRandom(seed);
  const size = endpoints.length;
  const chosen = new Set<number>();
  const choose = (a: number, b: number): void => {
    chosen.add(a * size + b);
  };
  const sources = shuffled(size, random);
  const destinations = shuffled(size, random);
  sources.forEach((a, i) => {
    for (let step = 0; step < size; step++) {
      const b = destinations[(i + step) % size]!;
      if (!testable(a, b)) continue;
      choose(a, b);
      break;
    }
  });
  const reached = new Set([...chosen].map((key) => key % size));
  for (const b of destinations) {
    const a = reached.has(b) ? undefined : sources.find((source) => testable(source, b));
    if (a !== undefined) choose(a, b);
  }
  coverNodes(endpoints, random, testable, chosen, choose);
  // Nearly all pairs wanted: random draws would repeat themselves, so the rest comes in a shuffled order.
  if (maxPairs * 2 > total) {
    for (const key of shuffled(size * size, random)) {
      if (chosen.size >= maxPairs) break;
      if (testable(Math.floor(key / size), key % size)) chosen.add(key);
    }
  } else {
    while (chosen.size < maxPairs) {
      const a = Math.floor(random() * size);
      const b = Math.floor(random() * size);
      if (testable(a, b)) choose(a, b);
    }
  }
  const pairs = [...chosen].sort((x, y) => x - y).map((k) => [Math.floor(k / size), k % size] as const);
  return { pairs, total, sampled: pairs.length < total };
}

/** Adds a pair for every ordered pair of nodes that has none yet, of pods where both have one. */
function coverNodes(
  endpoints: readonly PairEndpoint[],
  random: () => number,
  testable: (a: number, b: number) => boolean,
  chosen: ReadonlySet<number>,
  choose: (a: number, b: number) => void,
): void {
  const size = endpoints.length;
  const nodeName = (index: number): string => endpoints[index]!.node;
  const covered = new Set<string>();
  for (const key of chosen) covered.add(`${nodeName(Math.floor(key / size))}\0${nodeName(key % size)}`);
  const members = new Map<string, number[]>();
  // Sorting is stable: in each node, a shuffled list of pods and then the rest.
  const order = shuffled(size, random).sort(
    (a, b) => Number(endpoints[b]!.isPod) - Number(endpoints[a]!.isPod),
  );
  for (const index of order) {
    const list = members.get(nodeName(index));
    if (list === undefined) members.set(nodeName(index), [index]);
    else list.push(index);
  }
  for (const [from, sources] of members) {
    for (const [to, destinations] of members) {
      if (covered.has(`${from}\0${to}`)) continue;
      const pair = firstPair(sources, destinations, testable);
      if (pair !== undefined) choose(...pair);
    }
  }
}

function firstPair(
  sources: readonly number[],
  destinations: readonly number[],
  testable: (a: number, b: number) => boolean,
): readonly [number, number] | undefined {
  for (const a of sources) {
    for (const b of destinations) if (testable(a, b)) return [a, b];
  }
  return undefined;
}

function shareFamily(a: PairEndpoint, b: PairEndpoint): boolean {
  return (a.families.has(4) && b.families.has(4)) || (a.families.has(6) && b.families.has(6));
}

function countTestable(endpoints: readonly PairEndpoint[]): number {
  const count = (wanted: (e: PairEndpoint) => boolean): number => endpoints.filter(wanted).length;
  const with4 = count((e) => e.families.has(4));
  const with6 = count((e) => e.families.has(6));
  const withBoth = count((e) => e.families.has(4) && e.families.has(6));
  return with4 ** 2 + with6 ** 2 - withBoth ** 2;
}

/** 0 to size-1 in random order (Fisher and Yates). */
function shuffled(size: number, random: () => number): number[] {
  const order = Array.from({ length: size }, (_, i) => i);
  for (let i = size - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
