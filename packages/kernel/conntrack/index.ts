/** Connection tracking (ctnetlink): which flows the kernel knows, and removing those that lead nowhere. */
export { type ConntrackHandle, type ConntrackOptions, createConntrack } from "./conntrack.ts";
export { describeFilter, FilterIndex, matches } from "./filter.ts";
export { describeFlow } from "./flow.ts";
