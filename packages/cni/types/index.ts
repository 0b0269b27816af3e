/** Types of the CNI specification, every version, and conversion between them. */
export * from "./capabilities.ts";
export * from "./configuration.ts";
export * from "./format-result.ts";
export type { JsonObject } from "./json.ts";
export * from "./names.ts";
export { type ParsedResult, parseResult } from "./parse-result.ts";
export * from "./result.ts";
export * from "./version.ts";
