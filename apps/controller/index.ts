/** The cluster's controller. */
export { type ControllerOptions, runController } from "./controller.ts";
