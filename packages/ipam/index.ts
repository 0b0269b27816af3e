/** The addresses of a node's workloads: which are held, by whom, durably. */
export type {
  AddressManager,
  AddressRequest,
  BlockUsage,
  LedgerEntry,
  WorkloadState,
} from "./address-manager.ts";
export { poolRange, rangeSize } from "./block.ts";
export type { FormerHolder } from "./former.ts";
export { type Ledger, type LedgerOptions, openLedger } from "./ledger.ts";
export { MemoryManager, type MemoryOptions } from "./memory.ts";
export type {
  BlockRecord,
  BlockState,
  BorrowedFrom,
  HeldAddress,
  HoldRequest,
  PoolRecords,
} from "./pool-records.ts";
export * from "./pools/index.ts";
