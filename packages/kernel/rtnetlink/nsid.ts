/** Ids under which one namespace knows another: RTM_NEWNSID, RTM_GETNSID (include/uapi/linux/net_namespace.h). */
import { WeftError } from "@weft/base";
import { Attributes, NetlinkWriter } from "../netlink/index.ts";
import type { NetworkNamespace } from "../port.ts";
import { hasErrno } from "../sys/errno.ts";
import { NETNSA, RTM } from "./constants.ts";
import type { RtnetlinkSocket } from "./socket.ts";

/** "None yet" in an answer, "any" in a request. */
const NO_ID = 0xffffffff;
/** struct rtgenmsg, padded. */
const HEADER = new Uint8Array(4);

/** The id, assigned if there was none. */
export function nsidOf(socket: RtnetlinkSocket, other: NetworkNamespace): number {
  const known = findNsid(socket, other);
  if (known !== undefined) return known;
  try {
    const message = new NetlinkWriter().begin(RTM.newNsid, 0).raw(HEADER).u32(NETNSA.fd, other.fd);
    socket.request(message.u32(NETNSA.nsid, NO_ID), "RTM_NEWNSID", `namespace ${other.path}`);
  } catch (error) {
    // Somebody was quicker.
    if (!hasErrno(error, "EEXIST")) throw error;
  }
  const assigned = findNsid(socket, other);
  if (assigned === undefined) {
    throw new WeftError("internal", `the kernel assigned no id to the namespace ${other.path}`);
  }
  return assigned;
}

function findNsid(socket: RtnetlinkSocket, other: NetworkNamespace): number | undefined {
  const message = new NetlinkWriter().begin(RTM.getNsid, 0).raw(HEADER).u32(NETNSA.fd, other.fd);
  for (const answer of socket.request(message, "RTM_GETNSID", `namespace ${other.path}`)) {
    const id = new Attributes(answer.payload, HEADER.length).u32(NETNSA.nsid);
    if (id !== undefined && id !== NO_ID) return id;
  }
  return undefined;
}
