/** Every object of an install, in the order in which they are applied. */
import type { KubernetesObject } from "@weft/cluster/client";
import { DEFINITIONS } from "@weft/cluster/definitions";
import type { InstallOptions } from "../options.ts";
import { agentObject } from "./agent.ts";
import { controllerObject } from "./controller.ts";
import { rbac } from "./rbac.ts";
import { namespaceObject, settingsObject } from "./settings.ts";

export const installObjects = (options: InstallOptions): KubernetesObject[] => [
  namespaceObject(options.namespace),
  // Definitions are no options: without them agents serve podCIDRs, with them there are no pools before somebody makes one.
  ...DEFINITIONS.map((definition) => ({ ...definition })),
  ...rbac(options),
  settingsObject(options),
  controllerObject(options),
  agentObject(options),
];
