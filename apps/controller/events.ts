import type { Clock } from "@weft/base";
import { createEventRecorder, type EventRecorder } from "@weft/cluster/client";
import type { ControllerOptions } from "./controller.ts";

/** Tells events in the controller's name. */
export const recordEvents = (
  { client, identity, logger }: Pick<ControllerOptions, "client" | "identity" | "logger">,
  clock: Clock,
): EventRecorder =>
  createEventRecorder({ client, controller: "weft.network/controller", instance: identity, logger, clock });
