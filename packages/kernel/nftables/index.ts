/** nftables: sets and maps by nfnetlink, rulesets by nft, and what other tables do to forwarded packets. */
export { commentOf, encodeBatch, type NftStep, type RawElement, type SetDeclaration } from "./batch.ts";
export type { Verdict } from "./decode.ts";
export {
  type ColumnType,
  columnLength,
  columnsLength,
  columnTypeNumber,
  decodeFields,
  encodeFields,
  type FieldType,
  type Layout,
  layoutOf,
  layoutOfFields,
} from "./layout.ts";
export { createNftables, type NftablesHandle, type NftablesOptions } from "./nftables.ts";
export { scriptError } from "./script.ts";
export { type NftablesEvent, watchNftables } from "./watch.ts";
