/** Frontends and contexts for tests of flows. */
import { familyOf, type IpAddress, type Prefix } from "@weft/base";
import type { Backend, FrontendRow, Transport } from "@weft/model";
import type { FlowContext, Frontend } from "./stale.ts";

/** "10.0.0.1:53" or "[fd00::1]:53". */
export function backend(text: string): Backend {
  const colon = text.lastIndexOf(":");
  const ip = text.slice(0, colon).replace(/[[\]]/g, "") as IpAddress;
  return { ip, port: Number(text.slice(colon + 1)) };
}

/** A row; without backends it rejects. */
export function row(
  backends: readonly string[],
  change: {
    readonly scope?: "any" | "outside";
    readonly address?: string;
    readonly family?: 4 | 6;
    readonly protocol?: Transport;
    readonly port?: number;
    readonly action?: FrontendRow["action"];
  } = {},
): FrontendRow {
  const address = (change.address ?? "10.96.0.10") as IpAddress | "node";
  return {
    kind: "frontend",
    origin: { kind: "Service", name: "default/dns" } as unknown as FrontendRow["origin"],
    scope: change.scope ?? "any",
    match: {
      address,
      family: change.family ?? (address === "node" ? 4 : familyOf(address)),
      protocol: change.protocol ?? "udp",
      port: change.port ?? 53,
    },
    action: change.action ?? (backends.length === 0 ? "reject" : "balance"),
    backends: backends.map(backend),
    balance: "random",
    affinity: undefined,
    masquerade: "never",
    sources: undefined,
  };
}

export const frontend = (any?: FrontendRow, outside?: FrontendRow): Frontend => ({ any, outside });

export const context = (change: Partial<FlowContext> = {}): FlowContext => ({
  nodePortAddresses: ["192.0.2.1", "192.0.2.2", "fd02::1"] as IpAddress[],
  inside: ["10.244.0.0/24", "192.0.2.1/32", "fd44::/64"] as Prefix[],
  resetConnections: false,
  ...change,
});
