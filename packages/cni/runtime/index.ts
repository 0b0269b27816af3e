/** The runtime's side of CNI: loading configurations, running plugins, keeping results. */
export { type AttachmentKey, type CachedAttachment, ResultCache } from "./cache.ts";
export { type ExecutionFailure, PluginExecutionError } from "./errors.ts";
export { type Execution, type Executor, execute } from "./execute.ts";
export { findPlugin } from "./find.ts";
export * from "./load.ts";
export { deriveConfiguration, type RequestParts } from "./request.ts";
export * from "./runtime.ts";
export * from "./spawn.ts";
