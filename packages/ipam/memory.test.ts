import { MemoryManager } from "./memory.ts";
import { describeAddressManager } from "./suite.ts";

describeAddressManager("MemoryManager", (options) => {
  const manager = new MemoryManager(options);
  return { manager, reopen: () => {}, end: () => manager.close() };
});
