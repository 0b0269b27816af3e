/** The engine of address pools on a node. */
export { PoolEngine } from "./engine.ts";
export { type AddressWish, useOf } from "./obtain.ts";
export {
  type BlockFinder,
  type EngineOptions,
  type Found,
  holderText,
  POOL_STEPS,
  POOL_TIMES,
  type PoolEvent,
  type PoolStep,
  type PoolTimes,
  type PoolView,
} from "./parts.ts";
export * from "./port.ts";
