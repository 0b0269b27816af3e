/** The agent's socket: HTTP with JSON bodies, for root only. One table of routes. */
import { chmodSync, mkdirSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import { describeError, type Logger } from "@weft/base";
import { toCniError } from "@weft/cni";
import { EXEC_PATH, type Execution, type Failure, parseExecution } from "@weft/plugin-weft";

/** What it resolves to is sent as JSON, unless it is a Response itself. */
export type Handler = (body: unknown, signal: AbortSignal) => Promise<unknown>;

/** Requests larger than this are refused: the largest real one is a GC of a full node. */
const BODY_LIMIT = 4 * 1024 * 1024;

/**
 * An ADD may wait for a starting agent for longer than the ten seconds of silence after which the runtime closes
 * a connection. The runtime takes this for unix sockets too, its types do not know it.
 */
const NO_IDLE_TIMEOUT: object = { idleTimeout: 0 };

export interface SocketServer {
  stop(): Promise<void>;
}

/**
 * `routes`: "POST /v1/cni/add" to what it does. Errors become a Failure with the CNI code. `execute` runs the
 * plugin on what its shim has handed over.
 */
export function serveSocket(
  path: string,
  routes: Readonly<Record<string, Handler>>,
  execute: (execution: Execution, signal: AbortSignal) => Promise<string>,
  logger: Logger,
): SocketServer {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  chmodSync(dirname(path), 0o700);
  try {
    unlinkSync(path);
  } catch {
    // Nothing was left from an earlier agent.
  }
  const server = Bun.serve({
    unix: path,
    maxRequestBodySize: BODY_LIMIT,
    ...NO_IDLE_TIMEOUT,
    async fetch(request) {
      const url = new URL(request.url);
      if (url.pathname === EXEC_PATH) return run(await request.bytes(), request.signal);
      const handler = routes[`${request.method} ${url.pathname}`];
      if (handler === undefined) {
        return failure(404, { code: 999, message: `no such call: ${request.method} ${url.pathname}` });
      }
      try {
        const text = await request.text();
        const body: unknown = text === "" ? {} : JSON.parse(text);
        const answer = await handler(body, request.signal);
        return answer instanceof Response ? answer : Response.json(answer);
      } catch (error) {
        if (error instanceof SyntaxError)
          return failure(400, { code: 6, message: `the body is not JSON: ${error.message}` });
        logger.warn("refused", { call: url.pathname, error: describeError(error) });
        const { code, msg, details } = toCniError(error).toResult("1.1.0");
        return failure(500, { code, message: msg, ...(details === undefined ? {} : { details }) });
      }
    },
  });
  chmodSync(path, 0o600);
  return { stop: () => server.stop(true) };

  async function run(bytes: Uint8Array, signal: AbortSignal): Promise<Response> {
    const execution = parseExecution(bytes);
    if (execution === undefined)
      return failure(400, { code: 6, message: "the body is no run of the plugin" });
    return new Response(await execute(execution, signal));
  }
}

const failure = (status: number, body: Failure): Response => Response.json(body, { status });
