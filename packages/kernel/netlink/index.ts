/** Netlink: codec and sockets of any protocol. */
export * from "./constants.ts";
export * from "./message.ts";
export * from "./socket.ts";
export * from "./writer.ts";
