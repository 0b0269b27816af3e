/**
 * Host ports: ports of a node's own addresses that lead to a pod of that node (hostPort and hostIP of a container's
 * port). One address may be named; 0.0.0.0 and :: stand for all of their family, and none for all of both. A port of one
 * address and the same of all are no contradiction in one pod, the first says more; of two pods they would share packets.
 */
import { type Family, familyOf, type IpAddress } from "@weft/base";

export interface HostPort {
  /** Undefined: all addresses of the node, of each family that the pod has. */
  readonly hostIp: IpAddress | undefined;
  readonly hostPort: number;
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly containerPort: number;
}

/** What stands for all addresses of a family. */
export const ANY_ADDRESS: Readonly<Record<Family, IpAddress>> = {
  4: "0.0.0.0" as IpAddress,
  6: "::" as IpAddress,
};
export const isAnyAddress = (ip: IpAddress): boolean => ip === ANY_ADDRESS[familyOf(ip)];

/** "198.18.1.11:80/tcp", "[::]:53/udp"; "*:80/tcp" for all addresses of both families. */
export function hostPortText(address: IpAddress | undefined, port: number, protocol: string): string {
  const host = address === undefined ? "*" : familyOf(address) === 6 ? `[${address}]` : address;
  return `${host}:${port}/${protocol}`;
}

/** Where it is of that family: one address, or ANY_ADDRESS; undefined when it is only of the other one. */
export function hostAddressOf({ hostIp }: HostPort, family: Family): IpAddress | undefined {
  if (hostIp === undefined) return ANY_ADDRESS[family];
  return familyOf(hostIp) === family ? hostIp : undefined;
}

/** True when a packet could be for both: two pods cannot have them on one node. */
export const hostPortsOverlap = (a: HostPort, b: HostPort): boolean =>
  meet(a, b, (x, y) => x === y || isAnyAddress(x) || isAnyAddress(y));

/** True when both are for exactly the same packets, and lead to different ports: one pod cannot have them. */
export const hostPortsContradict = (a: HostPort, b: HostPort): boolean =>
  a.containerPort !== b.containerPort && meet(a, b, (x, y) => x === y);

function meet(a: HostPort, b: HostPort, at: (x: IpAddress, y: IpAddress) => boolean): boolean {
  if (a.protocol !== b.protocol || a.hostPort !== b.hostPort) return false;
  return ([4, 6] as const).some((family) => {
    const [x, y] = [hostAddressOf(a, family), hostAddressOf(b, family)];
    return x !== undefined && y !== undefined && at(x, y);
  });
}
