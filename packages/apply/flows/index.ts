/** Flows of connection tracking and the frontends that they belong to. */
export {
  createFlowCleaner,
  type FlowCleaner,
  type FlowCleanerOptions,
  type FlowStatistics,
} from "./cleaner.ts";
export { countFlows } from "./counts.ts";
export { type FrontendListener, followFrontends } from "./follow.ts";
export { type FlowContext, type Frontend, staleFlows } from "./stale.ts";
export { strayFlows } from "./stray.ts";
