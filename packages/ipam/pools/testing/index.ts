/** For tests of whoever implements the port, or runs engines around a server. */
export { describePoolApi, type PortSubject } from "../suite.ts";
export { type RaceReport, race } from "./race.ts";
export { addressingOf, capacityOf, poolOf, type Snapshot, World, type WorldNode } from "./world.ts";
