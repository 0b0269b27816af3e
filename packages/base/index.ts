/** Base: what every room may use. Imports nothing. */
export * from "./abort.ts";
export * from "./backoff.ts";
export * from "./clock.ts";
export * from "./errors.ts";
export * from "./exposition.ts";
export * from "./files.ts";
export * from "./ip.ts";
export * from "./logger.ts";
export * from "./mac.ts";
export * from "./news.ts";
export * from "./prefix.ts";
export * from "./random.ts";
