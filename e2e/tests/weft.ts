/** Weft as the network: dual stack over two racks with all that can happen to it, then the single families. */
import { weftNetwork } from "../networks/weft.ts";
import { becomesReady, changesBackend } from "./backends.ts";
import { restored } from "./backup.ts";
import { COMMON, deletion, podsReachPods, services } from "./common.ts";
import { agentsKilled, apiServerAway, reboot, rollout, runtimeRestarts, staticPod } from "./faults.ts";
import { hostPortMoves, hostPorts } from "./host-ports.ts";
import { drain, removed, renumbered, reregistered, takenRange } from "./nodes.ts";
import { finalizer, forgotten, staticPodNamed } from "./pods-odd.ts";
import { added, drained, fixedAddress, removed as poolsRemoved, serverAway } from "./pools.ts";
import { rollingUpdate } from "./rolling.ts";
import { apiService, losersAreTold, policies } from "./services.ts";
import type { Suite } from "./suite.ts";

export const weftSuites: readonly Suite[] = [
  {
    title: "weft",
    cluster: () => ({
      name: "weft",
      families: "dual",
      racks: [1, 1],
      network: weftNetwork({ backend: "auto" }),
    }),
    cases: [
      becomesReady,
      ...COMMON,
      hostPorts,
      hostPortMoves,
      changesBackend("vxlan"),
      changesBackend("auto"),
      deletion,
      rollout,
      agentsKilled,
      runtimeRestarts,
      staticPod,
      apiServerAway,
      reboot,
      staticPodNamed,
      finalizer,
      forgotten,
      drain,
      takenRange,
      renumbered,
      reregistered,
      removed,
      restored,
    ],
  },
  {
    title: "weft-services",
    cluster: () => ({
      name: "wefts",
      families: "dual",
      racks: [1, 2],
      network: weftNetwork({ backend: "auto" }),
      kubeProxy: false,
    }),
    cases: [podsReachPods, services, apiService, policies, losersAreTold, rollingUpdate],
  },
  {
    title: "weft-pools",
    cluster: () => ({
      name: "weftp",
      families: "dual",
      racks: [1, 2],
      network: weftNetwork({ backend: "auto" }),
    }),
    cases: [added, fixedAddress, drained, serverAway, poolsRemoved],
  },
  {
    title: "weft-ipv4",
    cluster: () => ({
      name: "weft4",
      families: "ipv4",
      racks: [1, 1],
      network: weftNetwork({ backend: "direct" }),
    }),
    cases: [...COMMON, changesBackend("vxlan"), deletion],
  },
  {
    title: "weft-ipv6",
    cluster: () => ({
      name: "weft6",
      families: "ipv6",
      racks: [1, 2],
      network: weftNetwork({ backend: "vxlan" }),
    }),
    cases: [podsReachPods, ...COMMON.slice(1), hostPorts, changesBackend("auto"), deletion],
  },
];
