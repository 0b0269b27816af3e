/** Kubernetes objects into model rows, converted once at this edge. */
export {
  type DirectoryWatch,
  readDirectory,
  type SourceObject,
  type SourceObjects,
  type WatchOptions,
  watchDirectory,
  watchObjects,
} from "./directory.ts";
export { readDocuments } from "./documents.ts";
export { type Conflict, type ManifestRows, parseManifests } from "./manifests.ts";
export { type NodeManifest, nodeManifest } from "./node-manifest.ts";
export type { WholeObjects } from "./objects.ts";
export { podOfObject } from "./pod-object.ts";
export { type AllBlocks, blockCombiner } from "./pool-blocks.ts";
export { Ranges } from "./ranges.ts";
export { watchSettings } from "./settings.ts";
