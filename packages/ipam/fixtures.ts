/** Values that the tests of this room share. */
import { type IpAddress, type Mac, type Prefix, parseIp, parsePrefix } from "@weft/base";
import type { AddressRequest } from "./address-manager.ts";

export const request = (id: string): AddressRequest => ({
  id,
  network: "weft",
  containerId: id,
  interface: "eth0",
  namespacePath: `/run/netns/${id}`,
  namespaceIdentity: "4:4026532000",
  podNamespace: "default",
  podName: id,
  podUid: undefined,
  hostPorts: [
    { hostIp: undefined, hostPort: 8080, protocol: "tcp", containerPort: 80 },
    { hostIp: parseIp("fd00::11"), hostPort: 53, protocol: "udp", containerPort: 5353 },
  ],
  mac: "02:00:00:00:00:01" as Mac,
  hostLink: `weft${id}`,
});

export const blocksOf = (...texts: string[]): Prefix[] => texts.map(parsePrefix);
export const ipsOf = (...texts: string[]): IpAddress[] => texts.map(parseIp);
