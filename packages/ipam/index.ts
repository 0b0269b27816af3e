/** The addresses of a node's workloads: which are held, by whom, durably. */
export type {
  AddressManager,
  AddressRequest,
  BlockUsage,
  LedgerEntry,
  WorkloadState,
} from "./address-manager.ts";
export { type Ledger, type LedgerOptions, openLedger } from "./ledger.ts";
export { MemoryManager, type MemoryOptions } from "./memory.ts";
