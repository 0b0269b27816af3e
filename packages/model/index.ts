/** The network's own nouns (model rows) and what the kernel should hold because of them (plan rows). No I/O. */
export * from "./address-report.ts";
export * from "./audit.ts";
export * from "./host-port.ts";
export * from "./nouns.ts";
export * from "./operation-settings.ts";
export * from "./plan.ts";
export * from "./pools.ts";
export * from "./service-plan.ts";
export * from "./service-settings.ts";
export * from "./service-status.ts";
export * from "./services.ts";
export * from "./settings.ts";
export * from "./status.ts";
