/** What is said of services that this agent does not serve, or not yet. */
import type { ServicesStatus } from "@weft/model";

export const inactive = (why: string, state: "off" | "waiting" = "off"): ServicesStatus => ({
  state,
  why,
  source: "",
  services: 0,
  endpointSlices: 0,
  frontends: 0,
  healthy: state === "off",
  healthz: "off",
  plan: [],
  problems: [],
  sourceErrors: [],
});
