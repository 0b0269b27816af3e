/** Numbers of include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h, neighbour.h and net_namespace.h. */
export const RTM = {
  newLink: 16,
  delLink: 17,
  getLink: 18,
  setLink: 19,
  newAddress: 20,
  delAddress: 21,
  getAddress: 22,
  newRoute: 24,
  delRoute: 25,
  getRoute: 26,
  newNeighbour: 28,
  delNeighbour: 29,
  getNeighbour: 30,
  newRule: 32,
  delRule: 33,
  getRule: 34,
  newNsid: 88,
  getNsid: 90,
} as const;

/** Multicast groups (RTNLGRP_*). */
export const RTNLGRP = {
  link: 1,
  neighbour: 3,
  address4: 5,
  route4: 7,
  address6: 9,
  route6: 11,
} as const;

export const IFLA = {
  address: 1,
  name: 3,
  mtu: 4,
  link: 5,
  master: 10,
  linkInfo: 18,
  alias: 20,
  afSpec: 26,
  group: 27,
  netnsFd: 28,
  extMask: 29,
  linkNetnsid: 37,
} as const;
export const IFLA_INFO = { kind: 1, data: 2 } as const;
export const VETH_INFO_PEER = 1;
export const IFLA_VXLAN = {
  id: 1,
  link: 3,
  local: 4,
  learning: 7,
  port: 15,
  local6: 17,
  udpChecksum: 18,
  udpZeroChecksum6Tx: 19,
  udpZeroChecksum6Rx: 20,
} as const;
export const IFLA_INET6_ADDRESS_GENERATION = 8;
/** Leave the counters out of a link's description. */
export const RTEXT_FILTER_SKIP_STATS = 8;

export const IFF = { up: 0x1, loopback: 0x8, lowerUp: 0x10000 } as const;
export const ARPHRD_ETHER = 1;

export const IFA = { address: 1, local: 2, flags: 8 } as const;
export const IFA_F = {
  noDad: 0x02,
  dadFailed: 0x08,
  tentative: 0x40,
  permanent: 0x80,
  noPrefixRoute: 0x200,
} as const;

export const RTA = {
  destination: 1,
  outLink: 4,
  gateway: 5,
  priority: 6,
  preferredSource: 7,
  metrics: 8,
  multipath: 9,
  table: 15,
  via: 18,
} as const;
export const RTAX_MTU = 2;
export const RTNH_F_ONLINK = 4;
/** rtm_table of tables above 255, whose number is in RTA.table alone. */
export const RT_TABLE_COMPAT = 252;
export const RT_TABLE_MAIN = 254;
export const RT_SCOPE = { global: 0, link: 253, host: 254, nowhere: 255 } as const;

/** Attributes of routing rules (include/uapi/linux/fib_rules.h). */
export const FRA = {
  source: 2,
  priority: 6,
  suppressPrefixLength: 14,
  table: 15,
  protocol: 21,
} as const;
export const FR_ACT_TO_TBL = 1;
export const FIB_RULE_INVERT = 2;

export const NDA = { destination: 1, linkAddress: 2, linkIndex: 8 } as const;
export const NUD = {
  reachable: 0x02,
  stale: 0x04,
  delay: 0x08,
  probe: 0x10,
  failed: 0x20,
  noArp: 0x40,
  permanent: 0x80,
} as const;
/** The entry is the device's own, not its bridge's. */
export const NTF_SELF = 0x02;

export const NETNSA = { nsid: 1, fd: 3 } as const;
