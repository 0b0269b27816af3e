/** Plan tables to the kernel. */

export * from "./flows/index.ts";
export { deletePair, withNamespace } from "./kinds/attachment.ts";
export * from "./plan.ts";
export { gatewayOf } from "./pod/gateway.ts";
export { NFT_TABLE, RULESET } from "./ruleset.ts";
export { SERVICES_TABLE } from "./services/layout.ts";
