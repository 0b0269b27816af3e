/** Weft into a cluster and out of it: objects, manifests, Helm chart. */
export { type ApiServer, apiServerOf, parseApiServer } from "./api-server.ts";
export { type ApplyOptions, type ApplyReport, applyInstall } from "./apply.ts";
export { CAPABILITIES, type Capability } from "./capabilities.ts";
export { chartFiles } from "./chart/chart.ts";
export { manifestText } from "./manifest.ts";
export { type ClusterFacts, readFacts } from "./migrate/facts.ts";
export { type MoveOptions, type MoveReport, moveNode } from "./migrate/move.ts";
export { type MigrationPlan, planMigration } from "./migrate/plan.ts";
export { finishMigration, startMigration } from "./migrate/start.ts";
export { installObjects } from "./objects/index.ts";
export { checkOptions, DEFAULT_NAMESPACE, type InstallOptions, imageOf, settingsOf } from "./options.ts";
export { type Step, type UninstallOptions, type UninstallReport, uninstall } from "./uninstall.ts";
export { untilReady, type WaitOptions } from "./wait.ts";
