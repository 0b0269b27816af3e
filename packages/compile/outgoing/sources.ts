/**
 * Whose packets get a node's address when they leave the cluster: the node's own blocks, less what settings and pools exempt.
 * Of several ranges that hold an address, the longest prefix speaks, and a pool before settings of the same range. A block
 * that a range splits comes in parts.
 */
import { addressAt, contains, makePrefix, type Prefix, prefixIp, prefixLength, prefixSize } from "@weft/base";
import type { Block, IpPool, MasqueradeSettings, MasqueradeSourceRow, Origin } from "@weft/model";

/** Somebody's word about a range. */
interface Said {
  readonly range: Prefix;
  readonly enabled: boolean;
  readonly origin: Origin;
}
interface Part {
  readonly prefix: Prefix;
  /** Who says so; undefined: nobody but the settings for all. */
  readonly said: Said | undefined;
}

/** False when no packet can be translated: then nothing needs to be known of destinations either. */
export const masquerades = (
  { enabled, ranges }: MasqueradeSettings,
  pools: readonly Pick<IpPool, "natOutgoing">[],
): boolean => enabled || ranges.some((r) => r.enabled) || pools.some((p) => p.natOutgoing === true);

/** `pools`: those that the blocks are of, at least. */
export function sourceRows(
  blocks: readonly Block[],
  settings: MasqueradeSettings,
  pools: readonly IpPool[],
): MasqueradeSourceRow[] {
  const maximal = blocks.filter((b) => !blocks.some((o) => o !== b && contains(o.prefix, b.prefix)));
  const ofSettings = settings.ranges.map((r, i): Said => ({ ...r, origin: rangeOrigin(i) }));
  return maximal.flatMap((block) => {
    const pool = pools.find((p) => p.name === block.pool);
    const said = [...(pool === undefined ? [] : saidBy(pool)), ...ofSettings];
    return parts(block.prefix, said, settings.enabled, undefined).map(
      ({ prefix, said }): MasqueradeSourceRow => ({
        kind: "masquerade-source",
        prefix,
        origin: said === undefined ? block.origin : said.origin,
      }),
    );
  });
}

const saidBy = ({ cidr, natOutgoing, origin }: IpPool): Said[] =>
  natOutgoing === undefined
    ? []
    : [{ range: cidr, enabled: natOutgoing, origin: { ...origin, field: "spec.natOutgoing" } }];

/** The parts of `prefix` that are translated, as few as can be. */
function parts(prefix: Prefix, all: readonly Said[], otherwise: boolean, from: Said | undefined): Part[] {
  let speaker = from;
  let inner = false;
  for (const said of all) {
    if (contains(said.range, prefix)) {
      if (speaker === undefined || prefixLength(said.range) > prefixLength(speaker.range)) speaker = said;
    } else if (contains(prefix, said.range)) inner = true;
  }
  if (!inner) return (speaker?.enabled ?? otherwise) ? [{ prefix, said: speaker }] : [];
  const [low, high] = halves(prefix);
  const found = [...parts(low, all, otherwise, speaker), ...parts(high, all, otherwise, speaker)];
  const whole = found.length === 2 && found[0]?.prefix === low && found[1]?.prefix === high;
  return whole ? [{ prefix, said: speaker }] : found;
}

function halves(prefix: Prefix): [Prefix, Prefix] {
  const length = prefixLength(prefix) + 1;
  const middle = addressAt(prefix, prefixSize(prefix) / 2n);
  return [makePrefix(prefixIp(prefix), length), makePrefix(middle, length)];
}

const rangeOrigin = (i: number): Origin => ({
  kind: "Settings",
  name: "weft",
  field: `masquerade.ranges[${i}]`,
});
