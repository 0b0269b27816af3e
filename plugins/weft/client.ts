/** The plugin's end of the agent's socket. */
import { CniError, OWN_CODE } from "@weft/cni";
import type { Failure } from "./protocol.ts";

/** A question to the agent on `socket`: one of the calls of protocol.ts. */
export type Ask = <T>(socket: string, path: string, body: unknown) => Promise<T>;

/** Longer than the agent's own deadline for an ADD, so that its answer, which says more, comes first. */
const TIMEOUT_MS = 100_000;

/**
 * Asks the agent. Throws CniError: the agent's own error; 100 when nobody listens on the socket; 101 when no
 * answer comes.
 */
export async function askBySocket<T>(socket: string, path: string, body: unknown): Promise<T> {
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
  const value = await readJson(response, socket);
  if (response.ok) return value as T;
  if (!isFailure(value)) throw noAgent(socket);
  throw new CniError(
    value.code,
    value.message,
    value.details === undefined ? {} : { details: value.details },
  );
}

async function readJson(response: Response, socket: string): Promise<unknown> {
  try {
    return JSON.parse(await response.text());
  } catch (error) {
    throw noAgent(socket, error);
  }
}

function isFailure(value: unknown): value is Failure {
  const { code, message } = (value ?? {}) as Partial<Failure>;
  return Number.isSafeInteger(code) && typeof message === "string";
}

const noAgent = (socket: string, cause?: unknown): CniError =>
  new CniError(OWN_CODE.agentUnavailable, `what answers on ${socket} is not the Weft agent`, {
    hint: "Something else listens there, or plugin and agent are of different versions.",
    ...(cause === undefined ? {} : { cause }),
  });
