/** Every object of an install, in the order in which they are applied. There are no CustomResourceDefinitions yet. */
import type { KubernetesObject } from "@weft/cluster/client";
import type { InstallOptions } from "../options.ts";
import { agentObject } from "./agent.ts";
import { controllerObject } from "./controller.ts";
import { rbac } from "./rbac.ts";
import { namespaceObject, settingsObject } from "./settings.ts";

export const installObjects = (options: InstallOptions): KubernetesObject[] => [
  namespaceObject(options.namespace),
  ...rbac(options),
  settingsObject(options),
  controllerObject(options),
  agentObject(options),
];
