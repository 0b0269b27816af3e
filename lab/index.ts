/** The lab: a many-node network on one machine, out of network namespaces, with real CNI and real packets. */
export { type BarePackets, barePackets } from "./build.ts";
export {
  type LabCondition,
  type LabNode,
  type LabPlan,
  labNodes,
  labPlan,
  labStatus,
  readCondition,
} from "./describe.ts";
export { labDown } from "./down.ts";
export { type ExecTarget, type LogOptions, labExec, labLogs, listTargets } from "./exec.ts";
export type { LabIo } from "./io.ts";
export {
  DEFAULT_OPTIONS,
  type FamilyChoice,
  type Hostility,
  type LabOptions,
  parseLabName,
  parseLabOptions,
} from "./options.ts";
export { type LabPaths, labPaths, listLabs } from "./state.ts";
export type { ContainerStatus, LabStatus, NodeStatus, PodStatus } from "./status.ts";
export { runSupervisor } from "./supervisor/index.ts";
export { labUp, type UpOptions } from "./up.ts";
