/** Labels and names that objects, controller and uninstall know each other by. */
export type Component = "agent" | "controller" | "cleanup" | "settings";

export const NAME_LABEL = "app.kubernetes.io/name";
export const COMPONENT_LABEL = "app.kubernetes.io/component";
export const MANAGED_LABEL = "app.kubernetes.io/managed-by";

/** Those by which pods are selected: they never change. */
export const selectorOf = (component: Component): Record<string, string> => ({
  [NAME_LABEL]: "weft",
  [COMPONENT_LABEL]: component,
});

export const selectorText = (component: Component): string =>
  Object.entries(selectorOf(component))
    .map(([key, value]) => `${key}=${value}`)
    .join(",");

/** In the agents' nodeSelector while they are taken away: no node has it. */
export const UNINSTALLING = "weft.network/uninstalling";

export const NAMES = {
  agent: "weft-agent",
  controller: "weft-controller",
  settings: "weft-settings",
  cleanup: "weft-cleanup",
} as const;
