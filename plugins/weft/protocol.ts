/**
 * What the plugin and the node's agent say to each other: HTTP over the agent's unix socket, JSON bodies.
 *
 *   POST /v1/cni/add     AttachmentRequest   200 Result | 4xx/5xx Failure
 *   POST /v1/cni/del     AttachmentRequest   200 {}
 *   POST /v1/cni/check   AttachmentRequest   200 {}
 *   POST /v1/cni/gc      GcRequest           200 {}
 *   POST /v1/cni/status  {}                  200 {}
 *
 * The plugin that goes away in the middle of an ADD takes its request back: the agent then undoes it.
 */
import type { Attachment, ResultInterface, ResultIp, ResultRoute } from "@weft/cni";

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

/** Where the agent listens and where DELs wait for it, below the node's root. */
export const SOCKET_PATH = "/run/weft/agent.sock";
export const QUEUE_PATH = "/var/lib/weft/deletions";
