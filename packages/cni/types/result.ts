/**
 * The result of ADD (specification section 5, "Success"). Inside Weft a result is always in the form of 1.1.0 with
 * addresses in canonical text; the older forms exist only as JSON, between parseResult and formatResult.
 *
 * | version        | addresses                          | interfaces                       | routes                              |
 * | -------------- | ---------------------------------- | -------------------------------- | ----------------------------------- |
 * | 0.1.0, 0.2.0   | ip4 and ip6, one of each           | none                             | in ip4 and ip6: dst, gw             |
 * | 0.3.0 - 0.4.0  | ips, with version "4" or "6"       | name, mac, sandbox               | dst, gw                             |
 * | 1.0.0          | ips                                | name, mac, sandbox               | dst, gw                             |
 * | 1.1.0          | ips                                | and mtu, socketPath, pciID       | and mtu, advmss, priority, table, scope |
 */
import type { IpAddress, IpWithLength, Prefix } from "@weft/base";

export interface ResultInterface {
  readonly name: string;
  /** Hardware address, where link-layer addresses mean something. */
  readonly mac?: string;
  /** Bytes. */
  readonly mtu?: number;
  /** Path of the namespace, or the hypervisor's id; absent for an interface of the host. */
  readonly sandbox?: string;
  /** Path of the socket file of a vhost-user interface. */
  readonly socketPath?: string;
  /** PCI id of the device, such as "0000:00:1f.6". */
  readonly pciID?: string;
}

export interface ResultIp {
  readonly address: IpWithLength;
  readonly gateway?: IpAddress;
  /** Index into `interfaces`; absent in the result of an IPAM plugin. */
  readonly interface?: number;
}

export interface ResultRoute {
  readonly dst: Prefix;
  /** Absent: by the gateway of the address of that family, or none. */
  readonly gw?: IpAddress;
  readonly mtu?: number;
  readonly advmss?: number;
  /** Metric: lower wins. */
  readonly priority?: number;
  readonly table?: number;
  /** rtm_scope: 0 global, 253 link, 254 host. */
  readonly scope?: number;
}

export interface ResultDns {
  readonly nameservers?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly options?: readonly string[];
}

/** A result in the latest form. */
export interface Result {
  readonly interfaces: readonly ResultInterface[];
  readonly ips: readonly ResultIp[];
  readonly routes: readonly ResultRoute[];
  readonly dns: ResultDns;
}

export const EMPTY_RESULT: Result = { interfaces: [], ips: [], routes: [], dns: {} };

/** JSON of 0.1.0 and 0.2.0. */
export interface Result020 {
  readonly cniVersion: string;
  readonly ip4?: Result020Ip;
  readonly ip6?: Result020Ip;
  readonly dns?: ResultDns;
}
export interface Result020Ip {
  readonly ip: string;
  readonly gateway?: string;
  readonly routes?: readonly ResultRoute040[];
}

/** JSON of 0.3.0, 0.3.1 and 0.4.0. */
export interface Result040 {
  readonly cniVersion: string;
  readonly interfaces?: readonly ResultInterface040[];
  readonly ips?: readonly (ResultIp & { readonly version: "4" | "6" })[];
  readonly routes?: readonly ResultRoute040[];
  readonly dns?: ResultDns;
}
export type ResultInterface040 = Pick<ResultInterface, "name" | "mac" | "sandbox">;
export type ResultRoute040 = Pick<ResultRoute, "dst" | "gw">;

/** JSON of 1.0.0. */
export interface Result100 {
  readonly cniVersion: string;
  readonly interfaces?: readonly ResultInterface040[];
  readonly ips?: readonly ResultIp[];
  readonly routes?: readonly ResultRoute040[];
  readonly dns?: ResultDns;
}

/** JSON of 1.1.0. */
export interface Result110 {
  readonly cniVersion: string;
  readonly interfaces?: readonly ResultInterface[];
  readonly ips?: readonly ResultIp[];
  readonly routes?: readonly ResultRoute[];
  readonly dns?: ResultDns;
}

/** JSON of the result of each version. */
export interface ResultOfVersion {
  "0.1.0": Result020;
  "0.2.0": Result020;
  "0.3.0": Result040;
  "0.3.1": Result040;
  "0.4.0": Result040;
  "1.0.0": Result100;
  "1.1.0": Result110;
}
