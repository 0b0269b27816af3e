/** Rows of a cluster with many services of the kind that there are most of: one TCP port, random, a few endpoints. */
import type { IpAddress } from "@weft/base";
import type { FrontendRow } from "@weft/model";

const origin = { kind: "Service", namespace: "default", name: "web" } as const;

/** Address number n from 1 of a range of 16 million. */
const address = (first: number, n: number): IpAddress =>
  `${first}.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}` as IpAddress;

/** Service number n from 0 with that many endpoints, of which no other service has one. */
export function serviceRow(n: number, endpoints: number, most: number): FrontendRow {
  const backends = Array.from({ length: endpoints }, (_, i) => ({
    ip: address(10, n * most + i + 1),
    port: 8080,
  }));
  return {
    kind: "frontend",
    scope: "any",
    match: { address: address(11, n + 1), family: 4, protocol: "tcp", port: 80 },
    action: "balance",
    backends,
    balance: "random",
    affinity: undefined,
    masquerade: "foreign",
    sources: undefined,
    origin,
  };
}
