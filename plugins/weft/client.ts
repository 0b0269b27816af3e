/** The plugin's end of the agent's socket. */
import { CniError, OWN_CODE } from "@weft/cni";
import type { Failure } from "./protocol.ts";

/** Longer than the agent's own deadline for an ADD, so that its answer, which says more, comes first. */
const TIMEOUT_MS = 100_000;

/**
 * Asks the agent. Throws CniError: the agent's own error; 100 when nobody listens on the socket; 101 when no
 * answer comes. `sent` tells whether the agent can have heard the request.
 */
export async function ask<T>(socket: string, path: string, body: unknown): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`http://weft${path}`, {
      unix: socket,
      method: "POST",
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    if ((error as Error).name === "TimeoutError") {
      throw new CniError(
        OWN_CODE.deadlineExceeded,
        `the agent did not answer within ${TIMEOUT_MS / 1000} s`,
        {
          hint: "See `weft status` and the agent's log.",
          cause: error,
        },
      );
    }
    throw new CniError(OWN_CODE.agentUnavailable, `the Weft agent does not answer on ${socket}`, {
      hint: "Is the agent running on this node? The request is tried again by the runtime.",
      cause: error,
    });
  }
  const text = await response.text();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CniError(OWN_CODE.agentUnavailable, `the agent's answer on ${socket} is not JSON`, {
      hint: "Something else listens there, or plugin and agent are of different versions.",
      cause: error,
    });
  }
  if (response.ok) return value as T;
  const failure = value as Failure;
  throw new CniError(
    failure.code,
    failure.message,
    failure.details === undefined ? {} : { details: failure.details },
  );
}
