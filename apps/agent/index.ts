/** The node agent. */
export { type RunningAgent, startAgent } from "./agent.ts";
export { type CleanupReport, cleanNode, socketBelow } from "./cleanup.ts";
export { conflistText } from "./conflist.ts";
export { isTaken } from "./only-one.ts";
export { type AgentFlags, type AgentOptions, agentOptions } from "./options.ts";
export { PLUGIN_FILES, type PlaceOptions, placePlugin } from "./place.ts";
export { startServicesAgent } from "./services-agent.ts";
export { STEPS } from "./steps.ts";
export { VERSION } from "./version.ts";
