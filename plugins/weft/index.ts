/** The CNI plugin "weft", and what the agent needs of it: protocol and queue. */
export { faultPoint, PLUGIN_STEPS } from "./fault-points.ts";
export { createWeftPlugin, weftPlugin } from "./plugin.ts";
export * from "./protocol.ts";
export { dequeue, enqueue, type Queued, queued, sweep } from "./queue.ts";
