/** The thread of memory-watch.ts. */
import { type WatchRequest, watchMemory } from "./memory-watch.ts";

declare const self: Worker;

self.onmessage = ({ data }: MessageEvent<WatchRequest>) => {
  self.postMessage("ready");
  self.postMessage(watchMemory(data));
};
