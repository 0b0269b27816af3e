/** The embedded API server with its listeners. */
export { dataFile, type RunningServer, type ServerOptions, startServer } from "./server.ts";
