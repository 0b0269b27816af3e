/** An API server that holds its objects in one file: what `weft server` runs. */
export { Failure, unauthorized } from "./errors.ts";
export type { ServiceSettings } from "./resource.ts";
export { ApiServer, type ApiServerOptions, DEFAULT_SERVICES, KUBERNETES_VERSION } from "./server.ts";
export { backup, type CopyReport, restore } from "./storage/backup.ts";
export { makeDirectory, takeLock } from "./storage/database.ts";
