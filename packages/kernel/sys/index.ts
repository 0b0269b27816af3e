/** System calls: the only place with foreign function calls. */

export * from "./epoll.ts";
export * from "./errno.ts";
export * from "./inet.ts";
export { type Koffi, koffi, type NativeFunction, type NativeLibrary } from "./koffi.ts";
export { call, errno, type Libc, libc } from "./libc.ts";
export * from "./namespace.ts";
export * from "./socket.ts";
