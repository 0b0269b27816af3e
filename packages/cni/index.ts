/**
 * The Container Network Interface: types, errors, and the skeleton of a plugin. The runtime's side is
 * "@weft/cni/runtime", so that a plugin, which lives some milliseconds, never loads it.
 */
export * from "./errors.ts";
export * from "./skeleton/index.ts";
export * from "./types/index.ts";
