/** Links, addresses, routes, rules, neighbours and forwarding entries of a namespace, by the routing protocol. */
export { decodeAddress } from "./address.ts";
export { decodeEvent } from "./event.ts";
export { decodeLink } from "./link.ts";
export { openNamespace, openOwnNamespace, RealNamespace } from "./namespace.ts";
export { LinkRemover } from "./remove.ts";
export { decodeRoute } from "./route.ts";
export { decodeRule } from "./rule.ts";
export { type WatchSettings, watch } from "./watch.ts";
