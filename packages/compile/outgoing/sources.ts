/**
 * Whose packets get a node's address when they leave the cluster: the node's own blocks, less what settings exempt.
 * Of several ranges that hold an address, the longest prefix speaks. A block that a range splits comes in parts.
 */
import { addressAt, contains, makePrefix, type Prefix, prefixIp, prefixLength, prefixSize } from "@weft/base";
import type { Block, MasqueradeSettings, MasqueradeSourceRow, Origin } from "@weft/model";

interface Part {
  readonly prefix: Prefix;
  /** Who says so: a range of the settings, or nobody but the block. */
  readonly range: number | undefined;
}

/** False when no packet can be translated: then nothing needs to be known of destinations either. */
export const masquerades = ({ enabled, ranges }: MasqueradeSettings): boolean =>
  enabled || ranges.some((r) => r.enabled);

export function sourceRows(blocks: readonly Block[], settings: MasqueradeSettings): MasqueradeSourceRow[] {
  const maximal = blocks.filter((b) => !blocks.some((o) => o !== b && contains(o.prefix, b.prefix)));
  return maximal.flatMap((block) =>
    parts(block.prefix, settings, undefined).map(({ prefix, range }) => ({
      kind: "masquerade-source",
      prefix,
      origin: range === undefined ? block.origin : rangeOrigin(range),
    })),
  );
}

/** The parts of `prefix` that are translated, as few as can be. */
function parts(prefix: Prefix, settings: MasqueradeSettings, from: number | undefined): Part[] {
  const { ranges } = settings;
  let speaker = from;
  let inner = false;
  ranges.forEach(({ range }, i) => {
    if (contains(range, prefix)) {
      const known = speaker === undefined ? undefined : ranges[speaker]?.range;
      if (known === undefined || prefixLength(range) > prefixLength(known)) speaker = i;
    } else if (contains(prefix, range)) inner = true;
  });
  if (!inner) {
    const on = speaker === undefined ? settings.enabled : ranges[speaker]?.enabled;
    return on === true ? [{ prefix, range: speaker }] : [];
  }
  const [low, high] = halves(prefix);
  const found = [...parts(low, settings, speaker), ...parts(high, settings, speaker)];
  const whole = found.length === 2 && found[0]?.prefix === low && found[1]?.prefix === high;
  return whole ? [{ prefix, range: speaker }] : found;
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
