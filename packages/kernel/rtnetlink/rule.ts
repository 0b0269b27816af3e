/** Routing rules by source: RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE (include/uapi/linux/fib_rules.h). */
import { familyOf, ipBytes, makePrefix, prefixIp, prefixLength } from "@weft/base";
import { Attributes, type NetlinkMessage, NetlinkWriter, NLM } from "../netlink/index.ts";
import type { Rule } from "../port.ts";
import { hasErrno } from "../sys/errno.ts";
import { AF } from "../sys/socket.ts";
import { FIB_RULE_INVERT, FR_ACT_TO_TBL, FRA, RT_TABLE_COMPAT, RTM } from "./constants.ts";
import { decodeIp, decodeLength, familyNumber, headerView, routeHeader } from "./headers.ts";
import type { RtnetlinkSocket } from "./socket.ts";

const NOTHING_SUPPRESSED = 0xffffffff;
const PLAIN: readonly number[] = [
  FRA.source,
  FRA.priority,
  FRA.suppressPrefixLength,
  FRA.table,
  FRA.protocol,
];

export function listRules(socket: RtnetlinkSocket): Rule[] {
  return ([4, 6] as const).flatMap((family) => {
    const wanted = familyNumber(family);
    const message = new NetlinkWriter().begin(RTM.getRule, 0).raw(routeHeader({ family: wanted }));
    return socket
      .dump(message, "RTM_GETRULE", "rules")
      .filter((m) => m.type === RTM.newRule && m.payload[0] === wanted)
      .flatMap((m) => decodeRule(m) ?? []);
  });
}

/** Decodes RTM_NEWRULE; undefined for a rule that selects by anything but its source. Throws "invalid". */
export function decodeRule(message: NetlinkMessage): Rule | undefined {
  // struct fib_rule_hdr has the layout of rtmsg, with the action in place of the type.
  const header = headerView(message.payload, 12, "a rule");
  const attributes = new Attributes(message.payload, 12);
  const source = attributes.bytes(FRA.source);
  const plain =
    attributes.all.every(({ type }) => PLAIN.includes(type)) &&
    (attributes.u32(FRA.suppressPrefixLength) ?? NOTHING_SUPPRESSED) === NOTHING_SUPPRESSED &&
    (header.getUint32(8, true) & FIB_RULE_INVERT) === 0 &&
    header.getUint8(3) === 0;
  if (source === undefined || !plain || header.getUint8(7) !== FR_ACT_TO_TBL) return undefined;
  const family = header.getUint8(0);
  if (family !== AF.inet && family !== AF.inet6) return undefined;
  return {
    from: makePrefix(decodeIp(source, family), decodeLength(header.getUint8(2), family)),
    table: attributes.u32(FRA.table) ?? header.getUint8(4),
    priority: attributes.u32(FRA.priority) ?? 0,
    protocol: attributes.u8(FRA.protocol) ?? 0,
  };
}

/** The kernel would take the same rule twice when it differs in its protocol alone, hence NLM.excl. */
export function replaceRule(socket: RtnetlinkSocket, rule: Rule): void {
  try {
    socket.request(encode(RTM.newRule, NLM.create | NLM.excl, rule), "RTM_NEWRULE", `rule from ${rule.from}`);
  } catch (error) {
    if (!hasErrno(error, "EEXIST")) throw error;
  }
}

export function deleteRule(socket: RtnetlinkSocket, rule: Rule): void {
  try {
    socket.request(encode(RTM.delRule, 0, rule), "RTM_DELRULE", `rule from ${rule.from}`);
  } catch (error) {
    if (!hasErrno(error, "ENOENT")) throw error;
  }
}

function encode(type: number, flags: number, rule: Rule): NetlinkWriter {
  const header = routeHeader({
    family: familyNumber(familyOf(rule.from)),
    table: rule.table > 255 ? RT_TABLE_COMPAT : rule.table,
    type: FR_ACT_TO_TBL,
  });
  header[2] = prefixLength(rule.from);
  return new NetlinkWriter()
    .begin(type, flags)
    .raw(header)
    .bytes(FRA.source, ipBytes(prefixIp(rule.from)))
    .u32(FRA.priority, rule.priority)
    .u32(FRA.table, rule.table)
    .u8(FRA.protocol, rule.protocol);
}
