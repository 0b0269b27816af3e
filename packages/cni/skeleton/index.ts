/** The skeleton of a plugin: everything but what it does. */
export * from "./arguments.ts";
export { type PluginEnvironment, parseEnvironment } from "./environment.ts";
export { type PluginIo, processIo } from "./io.ts";
export * from "./plugin.ts";
export * from "./requirements.ts";
export * from "./run.ts";
