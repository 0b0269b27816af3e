/**
 * In which block the node's end of its tunnels is: one of each family. It moves when the block that it is in may not be
 * used any more, and is taken out of the old one only when the new one says so to everybody.
 */
import type { Prefix } from "@weft/base";

export interface TunnelPlace {
  readonly prefix: Prefix;
  /** Addresses may be given out of it, and the server says that it is ours, or lent to us. */
  readonly usable: boolean;
  /** An address of it is held for the tunnel. */
  readonly held: boolean;
  /** Its object says so. */
  readonly written: boolean;
  /** An address of it is free. */
  readonly room: boolean;
  /** A single address, lent by another node. */
  readonly borrowed: boolean;
}

/** The blocks in which the tunnel's end is to be now: one, or two while it moves. `needed`: there may be pods. */
export function tunnelHomes(places: readonly TunnelPlace[], needed: boolean): Set<Prefix> {
  if (!needed) return new Set();
  const own = places.filter((p) => p.usable && !p.borrowed);
  const home =
    own.find((p) => p.held && p.written) ??
    own.find((p) => p.held) ??
    own.find((p) => p.room) ??
    // Better in a block that may not be used any more than nowhere.
    places.find((p) => p.held && p.usable) ??
    places.find((p) => p.held);
  if (home === undefined) return new Set();
  const leaving = home.held && home.written ? [] : places.filter((p) => p.held);
  return new Set([home, ...leaving].map((p) => p.prefix));
}
