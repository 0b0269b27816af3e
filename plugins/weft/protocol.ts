/**
 * What the plugin and the node's agent say to each other: HTTP over the agent's unix socket, JSON bodies.
 *
 *   POST /v1/cni/add     AddBody             200 Result | 4xx/5xx Failure
 *   POST /v1/cni/del     AttachmentRequest   200 {}
 *   POST /v1/cni/check   AttachmentRequest   200 {}
 *   POST /v1/cni/gc      GcRequest           200 {}
 *   POST /v1/cni/status  {}                  200 {}
 *   POST /v1/cni/exec    Execution           200 exit code, newline, standard output (shim/shim.c)
 *
 * The plugin that goes away in the middle of an ADD takes its request back: the agent then undoes it.
 */
import type { Attachment, PortMapping, ResultInterface, ResultIp, ResultRoute } from "@weft/cni";

export interface AttachmentRequest {
  /** Name of the network: `name` in the configuration list. */
  readonly network: string;
  readonly containerId: string;
  readonly interface: string;
  /** Path of the container's namespace; undefined in a DEL after it is gone. */
  readonly namespacePath: string | undefined;
  readonly podNamespace: string | undefined;
  readonly podName: string | undefined;
  readonly podUid: string | undefined;
}

/** What only an ADD needs to say: DEL removes whatever there is. */
export interface AddBody extends AttachmentRequest {
  /** Ports of the node that are to lead to the container, from the runtime; those without a host port are none. */
  readonly portMappings: readonly PortMapping[];
}

/** What an ADD made; the plugin appends it to the result of the plugins before it. */
export interface AttachmentResult {
  readonly interfaces: readonly ResultInterface[];
  readonly ips: readonly ResultIp[];
  readonly routes: readonly ResultRoute[];
}

export interface GcRequest {
  readonly network: string;
  readonly validAttachments: readonly Attachment[];
}

export interface Failure {
  /** CNI error code. */
  readonly code: number;
  readonly message: string;
  readonly details?: string;
}

/** Where a run of the plugin is handed over. */
export const EXEC_PATH = "/v1/cni/exec";

/** Where the agent listens and where DELs wait for it, below the node's root. */
export const SOCKET_PATH = "/run/weft/agent.sock";
export const QUEUE_PATH = "/var/lib/weft/deletions";

/** One run of the plugin, as its shim hands it over: NAME=VALUE\0 for each variable, \0, standard input. */
export interface Execution {
  readonly environment: Readonly<Record<string, string>>;
  readonly stdin: Uint8Array;
}

/** Undefined for bytes that are no execution. */
export function parseExecution(bytes: Uint8Array): Execution | undefined {
  const environment: Record<string, string> = {};
  let at = 0;
  for (;;) {
    const end = bytes.indexOf(0, at);
    if (end < 0) return undefined;
    if (end === at) return { environment, stdin: bytes.subarray(end + 1) };
    const text = new TextDecoder().decode(bytes.subarray(at, end));
    const equals = text.indexOf("=");
    if (equals < 1) return undefined;
    environment[text.slice(0, equals)] = text.slice(equals + 1);
    at = end + 1;
  }
}
