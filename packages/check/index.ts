/** Proves the Kubernetes network model on a running network. */
export { checkNetwork } from "./check.ts";
export { type RenderOptions, renderReport } from "./render.ts";
export * from "./types.ts";
