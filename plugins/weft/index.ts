/** The CNI plugin "weft", and what the agent needs of it: protocol and queue. */
export { weftPlugin } from "./plugin.ts";
export * from "./protocol.ts";
export { dequeue, enqueue, type Queued, queued } from "./queue.ts";
