/** Equality and freezing of rows: plain values, arrays, plain objects, byte arrays, Map and Set, without cycles. */

/**
 * Structural equality of rows. A property that is undefined equals an absent one; NaN equals itself, 0 equals -0;
 * sets compare by membership (their members are plain values); instances of other classes compare by fields,
 * functions by identity.
 */
export function sameRow(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) {
    return Number.isNaN(a) && Number.isNaN(b);
  }
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) if (!sameRow(a[i], b[i])) return false;
    return true;
  }
  const prototype = Object.getPrototypeOf(a);
  if (prototype !== Object.getPrototypeOf(b)) return false;
  if (prototype === Object.prototype || prototype === null) return sameFields(a, b);
  if (ArrayBuffer.isView(a)) return sameBytes(a, b as ArrayBufferView);
  if (a instanceof Map) return sameMap(a, b as Map<unknown, unknown>);
  if (a instanceof Set) return a.size === (b as Set<unknown>).size && a.isSubsetOf(b as Set<unknown>);
  if (a instanceof Date) return Object.is(a.getTime(), (b as Date).getTime());
  return sameFields(a, b);
}

function sameFields(a: object, b: object): boolean {
  const left = a as Readonly<Record<string, unknown>>;
  const right = b as Readonly<Record<string, unknown>>;
  // Counting defined fields on both sides finds a field that only `b` has.
  let fields = 0;
  for (const name in left) {
    if (left[name] === undefined) continue;
    fields++;
    if (!sameRow(left[name], right[name])) return false;
  }
  for (const name in right) if (right[name] !== undefined) fields--;
  return fields === 0;
}

function sameBytes(a: ArrayBufferView, b: ArrayBufferView): boolean {
  if (a.byteLength !== b.byteLength) return false;
  const left = new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
  const right = new Uint8Array(b.buffer, b.byteOffset, b.byteLength);
  return left.every((byte, i) => byte === right[i]);
}

function sameMap(a: ReadonlyMap<unknown, unknown>, b: ReadonlyMap<unknown, unknown>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) if (!b.has(key) || !sameRow(value, b.get(key))) return false;
  return true;
}

/** Freezes arrays and plain objects all the way down; what is frozen already is taken to be so all the way. */
export function freezeRow<Row>(row: Row): Row {
  if (typeof row !== "object" || row === null || Object.isFrozen(row)) return row;
  if (Array.isArray(row)) for (const item of row) freezeRow(item);
  else {
    const prototype = Object.getPrototypeOf(row);
    if (prototype !== Object.prototype && prototype !== null) return row;
    for (const name in row) freezeRow(row[name]);
  }
  return Object.freeze(row);
}
