/** Flows for tests: made in the kernel without any packet (IPCTNL_MSG_CT_NEW with NLM_F_CREATE), or as rows. */
import { type Family, familyOf, type IpAddress, ipBytes } from "@weft/base";
import { NETLINK, NetlinkSocket, NetlinkWriter, NLM } from "../netlink/index.ts";
import { FLOW_STATUS, type Flow, type FlowTuple, IP_PROTOCOL } from "../port.ts";
import {
  CTA_MARK,
  CTA_NAT_DST,
  CTA_PROTOINFO,
  CTA_PROTOINFO_TCP,
  CTA_PROTOINFO_TCP_STATE,
  CTA_STATUS,
  CTA_TIMEOUT,
  CTA_TUPLE_ORIG,
  CTA_TUPLE_REPLY,
  CTA_ZONE,
  IPCTNL_MSG_CT_NEW,
  messageType,
} from "./constants.ts";
import { nfgenmsg } from "./flow.ts";
import { writeTuple } from "./tuple.ts";

export interface FlowSpec {
  /** Number, or a name of IP_PROTOCOL. */
  readonly protocol: keyof typeof IP_PROTOCOL;
  readonly source: string;
  readonly sourcePort?: number;
  readonly destination: string;
  readonly destinationPort?: number;
  /** Where the destination is translated to. */
  readonly backend?: { readonly ip: string; readonly port: number };
  /** Packets have been seen both ways. */
  readonly replied?: boolean;
  /** TCP_FLOW_STATE; default none. */
  readonly tcpState?: number;
  readonly mark?: number;
  readonly zone?: number;
}

/** The flow that the kernel makes of a spec, but for id, timeout and counters. */
export function flowOf(spec: FlowSpec): Omit<Flow, "id"> {
  const { protocol, backend } = spec;
  const icmp = protocol === "icmp" || protocol === "icmpv6";
  const [request, answer] = protocol === "icmp" ? [8, 0] : [128, 129];
  const tuple = (
    source: string,
    sourcePort = 0,
    destination = "",
    destinationPort = 0,
    type = 0,
  ): FlowTuple => ({
    source: source as IpAddress,
    destination: destination as IpAddress,
    sourcePort: icmp ? undefined : sourcePort,
    destinationPort: icmp ? undefined : destinationPort,
    icmp: icmp ? { type, code: 0, id: 77 } : undefined,
  });
  const { source, sourcePort, destination, destinationPort } = spec;
  return {
    family: familyOf(spec.source),
    protocol: IP_PROTOCOL[protocol],
    original: tuple(source, sourcePort, destination, destinationPort, request),
    reply: tuple(backend?.ip ?? destination, backend?.port ?? destinationPort, source, sourcePort, answer),
    // Once a flow is made, whether it is translated is decided, both ways.
    status:
      FLOW_STATUS.confirmed |
      (backend === undefined ? 0 : FLOW_STATUS.destinationNat) |
      (spec.replied === true ? FLOW_STATUS.seenReply : 0),
    timeout: 600,
    tcpState: protocol === "tcp" ? (spec.tcpState ?? 0) : undefined,
    mark: spec.mark ?? 0,
    zone: spec.zone ?? 0,
    packets: undefined,
    bytes: undefined,
  };
}

/** The message that makes the flow. */
export function createRequest(spec: FlowSpec): Uint8Array {
  const flow = flowOf(spec);
  const { family, protocol, original } = flow;
  // The kernel itself turns the reply round when it translates.
  const reply = flowOf({ ...spec, backend: undefined } as unknown as FlowSpec).reply;
  const writer = new NetlinkWriter()
    .begin(messageType(IPCTNL_MSG_CT_NEW), NLM.request | NLM.create | NLM.excl)
    .raw(nfgenmsg(family));
  writeTuple(writer, CTA_TUPLE_ORIG, family, { ...original, protocol });
  writeTuple(writer, CTA_TUPLE_REPLY, family, { ...reply, protocol });
  writer.u32Be(CTA_TIMEOUT, flow.timeout).u32Be(CTA_STATUS, flow.status & ~FLOW_STATUS.destinationNat);
  if (flow.mark !== 0) writer.u32Be(CTA_MARK, flow.mark);
  if (flow.zone !== 0) writer.u16Be(CTA_ZONE, flow.zone);
  const { tcpState } = spec;
  if (tcpState !== undefined) {
    writer.nest(CTA_PROTOINFO, (info) =>
      info.nest(CTA_PROTOINFO_TCP, (tcp) => tcp.u8(CTA_PROTOINFO_TCP_STATE, tcpState)),
    );
  }
  if (spec.backend !== undefined) writeNat(writer, family, spec.backend);
  return writer.finish();
}

function writeNat(writer: NetlinkWriter, family: Family, { ip, port }: { ip: string; port: number }): void {
  const [least, most] = family === 4 ? [1, 2] : [4, 5];
  writer.nest(CTA_NAT_DST, (nat) => {
    nat.bytes(least, ipBytes(ip)).bytes(most, ipBytes(ip));
    nat.nest(3 /* CTA_NAT_PROTO */, (ports) => ports.u16Be(1, port).u16Be(2, port));
  });
}

/** Makes the flows in the namespace. */
export function createFlows(namespace: { readonly fd: number }, specs: readonly FlowSpec[]): void {
  const socket = new NetlinkSocket(NETLINK.netfilter, { namespace: namespace.fd });
  try {
    for (const spec of specs)
      socket.request(createRequest(spec), { call: "IPCTNL_MSG_CT_NEW", object: JSON.stringify(spec) });
  } finally {
    socket.close();
  }
}
