/** Network namespaces: names, handles, switching, processes inside. */
export * from "./handle.ts";
export * from "./named.ts";
export { inNetns, inNewNetns } from "./switch.ts";
