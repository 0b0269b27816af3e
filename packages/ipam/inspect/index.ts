/** Looking at a cluster's addresses: how full, until when, whose, and whether it all fits together. Pure. */
export * from "./check.ts";
export * from "./find.ts";
export * from "./forecast.ts";
export * from "./state.ts";
export * from "./usage.ts";
