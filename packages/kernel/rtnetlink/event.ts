/** Events: what the multicast groups of the routing protocol say, decoded as far as "this kind of thing changed". */
import { Attributes, type NetlinkMessage } from "../netlink/index.ts";
import type { KernelEvent } from "../port.ts";
import { AF } from "../sys/socket.ts";
import { IFLA, RTA, RTM } from "./constants.ts";
import { headerView } from "./headers.ts";

type Change = Exclude<KernelEvent, { kind: "overflow" | "nftables" }>;

const KINDS: ReadonlyMap<number, Pick<Change, "kind" | "change">> = new Map([
  [RTM.newLink, { kind: "link", change: "set" }],
  [RTM.delLink, { kind: "link", change: "gone" }],
  [RTM.newAddress, { kind: "address", change: "set" }],
  [RTM.delAddress, { kind: "address", change: "gone" }],
  [RTM.newNeighbour, { kind: "neighbour", change: "set" }],
  [RTM.delNeighbour, { kind: "neighbour", change: "gone" }],
  [RTM.newRoute, { kind: "route", change: "set" }],
  [RTM.delRoute, { kind: "route", change: "gone" }],
]);

/** Undefined for messages of other types. Throws "invalid". */
export function decodeEvent(
  message: NetlinkMessage,
  nsid: number | undefined,
  nameOf: (index: number) => string | undefined,
): KernelEvent | undefined {
  const what = KINDS.get(message.type);
  if (what === undefined) return undefined;
  const { payload } = message;
  if (what.kind === "link") {
    const header = headerView(payload, 16, "a link");
    // Of a bridge's ports the bridge speaks too: "gone" is from the bridge, not from the namespace.
    const change = header.getUint8(0) === AF.bridge ? "set" : what.change;
    const link = new Attributes(payload, 16).string(IFLA.name);
    return { kind: "link", change, nsid, link, linkIndex: header.getInt32(4, true) };
  }
  const linkIndex = indexOf(what.kind, payload);
  const link = linkIndex === undefined ? undefined : nameOf(linkIndex);
  return { ...what, nsid, link, linkIndex };
}

function indexOf(kind: Change["kind"], payload: Uint8Array): number | undefined {
  switch (kind) {
    case "address":
      return headerView(payload, 8, "an address").getUint32(4, true);
    case "neighbour":
      return headerView(payload, 12, "a neighbour").getInt32(4, true);
    default:
      return new Attributes(payload, 12).u32(RTA.outLink);
  }
}
