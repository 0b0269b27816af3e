/**
 * What `kubectl apply` does on the client's side: a merge patch (RFC 7386) that brings an object to what a manifest says,
 * takes away what an earlier version of the manifest had said, and leaves alone what others have set. Pure.
 */
export type Fields = Readonly<Record<string, unknown>>;

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** `before` is what was applied last. Undefined when `current` is as it should be. */
export function threeWay(before: Fields, wanted: Fields, current: Fields): Fields | undefined {
  const patch: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(wanted)) {
    const held = current[field];
    if (isFields(value) && isFields(held)) {
      const former = before[field];
      const inner = threeWay(isFields(former) ? former : {}, value, held);
      if (inner !== undefined) patch[field] = inner;
    } else if (
      value !== null &&
      value !== undefined &&
      (!includes(held, value) || isChanged(before[field], value))
    ) {
      patch[field] = value;
    }
  }
  for (const field of Object.keys(before)) {
    const gone = wanted[field] === undefined || wanted[field] === null;
    if (gone && current[field] !== undefined) patch[field] = null;
  }
  return Object.keys(patch).length === 0 ? undefined : patch;
}

/** A list is one value: what was taken out of one of its items goes with a new list only. */
const isChanged = (before: unknown, wanted: unknown): boolean =>
  Array.isArray(wanted) && before !== undefined && !Bun.deepEquals(before, wanted);

/** True when `held` has all of `wanted`: what the server has filled in besides is no difference. */
export function includes(held: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) {
    return (
      Array.isArray(held) && held.length === wanted.length && wanted.every((w, i) => includes(held[i], w))
    );
  }
  if (isFields(wanted)) {
    return (
      isFields(held) &&
      Object.entries(wanted).every(([key, w]) => w === null || w === undefined || includes(held[key], w))
    );
  }
  return held === wanted;
}
