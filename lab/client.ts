/** Asking a lab's supervisor over its control socket. */
import { describeError, WeftError } from "@weft/base";
import { labPaths } from "./state.ts";
import type { LabStatus } from "./status.ts";

const ANSWER_MS = 5000;

/** Throws "unavailable" when nobody answers. */
export async function fetchStatus(lab: string): Promise<LabStatus> {
  return (await ask(lab, "GET", "/v1/status")).json() as Promise<LabStatus>;
}

/** Undefined when nobody answers. */
export async function tryStatus(lab: string): Promise<LabStatus | undefined> {
  try {
    return await fetchStatus(lab);
  } catch {
    return undefined;
  }
}

async function ask(lab: string, method: string, path: string): Promise<Response> {
  try {
    const response = await fetch(`http://lab${path}`, {
      method,
      unix: labPaths(lab).socket,
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    return response;
  } catch (error) {
    throw new WeftError(
      "unavailable",
      `the supervisor of lab "${lab}" does not answer: ${describeError(error)}`,
      {
        object: `lab ${lab}`,
        hint: `See ${labPaths(lab).supervisorLog}, and start it again with weft lab up.`,
        cause: error,
      },
    );
  }
}
