/** Store: tables, watches, derived tables, and reconcilers that bring a target to a table. See README.md. */
export { createApplier } from "./applier.ts";
export { createDatabase } from "./database.ts";
export { derive } from "./derive.ts";
export type * from "./reconcile-types.ts";
export { createReconciler } from "./reconciler.ts";
export { sameRow } from "./row.ts";
export { createTable } from "./table.ts";
export type * from "./types.ts";
