/** Model to plan: pure functions of rows. No I/O, no clock, no kernel. */
export * from "./fabric/fabric.ts";
export { attachmentRows, GATEWAY_MAC } from "./links/attachment.ts";
export { unreachableHostPorts } from "./links/host-ports.ts";
export { type Backend, type Peer, type Reach, ROUTE_METRIC, UNREACHABLE_METRIC } from "./overlay/backend.ts";
export { BACKENDS } from "./overlay/registry.ts";
export { TUNNEL_LINK, TUNNEL_TABLE, vtepMac } from "./overlay/vxlan/vxlan.ts";
export * from "./pools/select.ts";
export * from "./services/index.ts";
