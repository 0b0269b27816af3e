/** Numbers of include/uapi/linux/netlink.h. */
export const NETLINK = { route: 0, netfilter: 12, generic: 16 } as const;

/** nlmsg_flags. */
export const NLM = {
  request: 0x1,
  multi: 0x2,
  ack: 0x4,
  echo: 0x8,
  dumpInterrupted: 0x10,
  dumpFiltered: 0x20,
  root: 0x100,
  match: 0x200,
  dump: 0x300,
  replace: 0x100,
  excl: 0x200,
  create: 0x400,
  append: 0x800,
  capped: 0x100,
  ackTlvs: 0x200,
} as const;

/** nlmsg_type of control messages; a protocol's own types begin at 16. */
export const NLMSG = { noop: 1, error: 2, done: 3, overrun: 4 } as const;

/** Socket options of level SOL_NETLINK. */
export const NETLINK_OPTION = {
  addMembership: 1,
  noEnobufs: 5,
  listenAllNsid: 8,
  capAck: 10,
  extAck: 11,
  strictCheck: 12,
} as const;

/** Attribute types carry two flags in their upper bits. */
export const NLA = { nested: 0x8000, networkOrder: 0x4000, typeMask: 0x3fff } as const;

/** Attributes of an acknowledgement. */
export const NLMSGERR_ATTR = { message: 1, offset: 2, cookie: 3, policy: 4, missingType: 5 } as const;
