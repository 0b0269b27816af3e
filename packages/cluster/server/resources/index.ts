/** All resources that are always there: one line each. */
import type { Resource } from "../resource.ts";
import { CONFIG_MAPS, SECRETS } from "./data.ts";
import { DEFINITIONS_RESOURCE } from "./definition.ts";
import { ENDPOINT_SLICES } from "./endpoint-slice.ts";
import { EVENTS, NEW_EVENTS } from "./event.ts";
import { NETWORK_POLICIES } from "./network-policy.ts";
import { NODES } from "./node.ts";
import { LEASES, NAMESPACES, SERVICE_ACCOUNTS } from "./plain.ts";
import { PODS } from "./pod.ts";
import { SERVICES } from "./service.ts";
import { SERVICE_CIDRS } from "./service-cidr.ts";
import { DEPLOYMENTS, REPLICA_SETS } from "./workloads.ts";

export const BUILT_IN: readonly Resource[] = [
  CONFIG_MAPS,
  EVENTS,
  NAMESPACES,
  NODES,
  PODS,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
  DEPLOYMENTS,
  REPLICA_SETS,
  DEFINITIONS_RESOURCE,
  LEASES,
  ENDPOINT_SLICES,
  NEW_EVENTS,
  NETWORK_POLICIES,
  SERVICE_CIDRS,
];
