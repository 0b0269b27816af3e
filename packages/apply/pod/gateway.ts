/** The gateway that every pod has: link-local, the same everywhere, on the node's end of its own pair. */
import { familyOf, type IpAddress, type IpWithLength, parseIp, parseIpWithLength } from "@weft/base";

const GATEWAY4 = parseIp("169.254.1.1");
const GATEWAY6 = parseIp("fe80::1");

export const gatewayOf = (ip: string): IpAddress => (familyOf(ip) === 4 ? GATEWAY4 : GATEWAY6);

/** The gateways of a set of pod addresses, each once. */
export const gatewaysOf = (addresses: readonly string[]): IpAddress[] => [
  ...new Set(addresses.map(gatewayOf)),
];

/** The gateway as an address of the node's end: it answers for it even after the pod's entries are flushed. */
export const gatewayAddress = (gateway: IpAddress): IpWithLength =>
  parseIpWithLength(familyOf(gateway) === 4 ? `${gateway}/32` : `${gateway}/64`);
