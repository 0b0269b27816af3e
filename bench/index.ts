/** Measurements of Weft side by side with peers: `bun run bench/run.ts`, see README.md. */
export { benchAgent } from "./agent.ts";
export { benchCni } from "./cni.ts";
export { type BenchOptions, parseBenchOptions, type Suite } from "./options.ts";
export { type Figure, type Report, renderReport } from "./report.ts";
export { benchScale } from "./scale.ts";
export { benchServices } from "./services.ts";
export { openSession, type Session } from "./session/session.ts";
export { benchTraffic } from "./traffic.ts";
