/** Kubernetes objects into model rows, converted once at this edge. */
export { type DirectoryWatch, readDirectory, type WatchOptions, watchDirectory } from "./directory.ts";
export { readDocuments } from "./documents.ts";
export { type Conflict, type ManifestRows, parseManifests } from "./manifests.ts";
export { type NodeManifest, nodeManifest } from "./node-manifest.ts";
export { type AllBlocks, blockCombiner } from "./pool-blocks.ts";
export { Ranges } from "./ranges.ts";
export { watchSettings } from "./settings.ts";
