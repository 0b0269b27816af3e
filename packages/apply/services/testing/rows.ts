/** Rows of services for tests. */
import type { Family, IpAddress, Prefix } from "@weft/base";
import type { Backend, FrontendRow, ServicePlanRow, Transport } from "@weft/model";
import { ADDRESS, type Place, SERVER_PORT } from "./network.ts";

export const origin = { kind: "Service", namespace: "default", name: "web" } as const;

/** A service's address of a family, number 1 to 255. */
export const serviceIp = (family: Family, n: number): IpAddress =>
  (family === 4 ? `10.96.0.${n}` : `fd00:96::${n.toString(16)}`) as IpAddress;

export const backends = (family: Family, ...places: Place[]): Backend[] =>
  places
    .map((place) => ({ ip: ADDRESS[place][family], port: SERVER_PORT }))
    .sort((a, b) => (a.ip < b.ip ? -1 : 1));

export type FrontendOptions = Partial<Omit<FrontendRow, "kind" | "match" | "origin">> & {
  readonly address?: IpAddress | "node";
  readonly family?: Family;
  readonly protocol?: Transport;
  readonly port?: number;
};

export function frontend(options: FrontendOptions): FrontendRow {
  const { family = 4, address = serviceIp(family, 1), protocol = "tcp", port = 80, ...rest } = options;
  return {
    kind: "frontend",
    scope: "any",
    match: { address, family, protocol, port },
    action: "balance",
    backends: [],
    balance: "random",
    affinity: undefined,
    masquerade: "foreign",
    sources: undefined,
    origin,
    ...rest,
  };
}

const both = (of: (family: Family) => ServicePlanRow[]): ServicePlanRow[] => [...of(4), ...of(6)];

/** What every node with services has. */
export const nodeRows = (): ServicePlanRow[] =>
  both((family) => [
    { kind: "node-source", ip: ADDRESS.node[family], origin },
    { kind: "node-port-address", ip: ADDRESS.node[family], origin },
    {
      kind: "pod-range",
      role: "local",
      prefix: (family === 4 ? "10.244.0.0/24" : "fd00:244::/64") as Prefix,
      origin,
    },
    {
      kind: "pod-range",
      role: "cluster",
      prefix: (family === 4 ? "10.244.0.0/16" : "fd00:244::/32") as Prefix,
      origin,
    },
    { kind: "hairpin", ip: ADDRESS.a[family], origin },
    { kind: "hairpin", ip: ADDRESS.b[family], origin },
    {
      kind: "service-address",
      prefix: (family === 4 ? "10.96.0.0/16" : "fd00:96::/112") as Prefix,
      origin,
    },
  ]);
