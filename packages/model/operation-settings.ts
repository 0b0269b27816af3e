/** Settings of how a node is looked after: what becomes of leaked addresses, and where metrics are to be had. */

export interface IpamSettings {
  /**
   * How long an attachment stays whose pod is gone from the API, or has a newer sandbox, and of which nothing lives;
   * seconds. What has lost its network namespace goes at once.
   */
  readonly leakGrace: number;
}

export interface MetricsSettings {
  /**
   * Addresses of the node that take GET /metrics over TCP. loopback: 127.0.0.1 and ::1; node: its InternalIPs; all: every
   * one. The agent's own socket has it always.
   */
  readonly listen: "off" | "loopback" | "node" | "all";
  readonly port: number;
}

export const DEFAULT_IPAM_SETTINGS: IpamSettings = { leakGrace: 60 };
export const DEFAULT_METRICS_SETTINGS: MetricsSettings = { listen: "off", port: 10247 };

/** Bounds of `leakGrace`, in seconds: a sandbox that is being made has no process yet. */
export const LEAK_GRACE = { least: 10, most: 86_400 } as const;
