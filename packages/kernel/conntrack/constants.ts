/**
 * Numbers of connection tracking's netlink interface (include/uapi/linux/netfilter/nfnetlink_conntrack.h and, for the
 * flags of filters, net/netfilter/nf_internals.h). A message's type is the subsystem (1) in the upper byte and the
 * message number in the lower; every message begins with struct nfgenmsg. Integers in attributes are big-endian, but
 * for the flags of filters, which are the machine's.
 */
import type { Family } from "@weft/base";

export const SUBSYSTEM_CTNETLINK = 1;
export const NFGENMSG_LENGTH = 4;

export const IPCTNL_MSG_CT_NEW = 0;
export const IPCTNL_MSG_CT_GET = 1;
export const IPCTNL_MSG_CT_DELETE = 2;

/** Type field of the netlink header of a message of connection tracking. */
export const messageType = (message: number): number => (SUBSYSTEM_CTNETLINK << 8) | message;

export const NFPROTO: Readonly<Record<Family, number>> = { 4: 2, 6: 10 };

export const CTA_TUPLE_ORIG = 1;
export const CTA_TUPLE_REPLY = 2;
export const CTA_STATUS = 3;
export const CTA_PROTOINFO = 4;
export const CTA_TIMEOUT = 7;
export const CTA_MARK = 8;
export const CTA_COUNTERS_ORIG = 9;
export const CTA_COUNTERS_REPLY = 10;
export const CTA_ID = 12;
export const CTA_NAT_DST = 13;
export const CTA_ZONE = 18;
export const CTA_FILTER = 25;

export const CTA_TUPLE_IP = 1;
export const CTA_TUPLE_PROTO = 2;

export const CTA_IP_V4_SRC = 1;
export const CTA_IP_V4_DST = 2;
export const CTA_IP_V6_SRC = 3;
export const CTA_IP_V6_DST = 4;

export const CTA_PROTO_NUM = 1;
export const CTA_PROTO_SRC_PORT = 2;
export const CTA_PROTO_DST_PORT = 3;
export const CTA_PROTO_ICMP_ID = 4;
export const CTA_PROTO_ICMP_TYPE = 5;
export const CTA_PROTO_ICMP_CODE = 6;
export const CTA_PROTO_ICMPV6_ID = 7;
export const CTA_PROTO_ICMPV6_TYPE = 8;
export const CTA_PROTO_ICMPV6_CODE = 9;

export const CTA_PROTOINFO_TCP = 1;
export const CTA_PROTOINFO_TCP_STATE = 1;

export const CTA_COUNTERS_PACKETS = 1;
export const CTA_COUNTERS_BYTES = 2;

/** Since Linux 5.8: which parts of the tuples in a dump's request must be equal. */
export const CTA_FILTER_ORIG_FLAGS = 1;
export const CTA_FILTER_REPLY_FLAGS = 2;
export const FILTER_FLAG = {
  source: 1 << 0,
  destination: 1 << 1,
  protocol: 1 << 3,
  sourcePort: 1 << 4,
  destinationPort: 1 << 5,
} as const;
