/** Every kind of plan row there is, and how it reaches the kernel. */
import type { PlanKind } from "@weft/model";
import type { KindContext, KindOps } from "./kind.ts";
import { addressOps } from "./kinds/address.ts";
import { allowedSourceOps } from "./kinds/allowed-source.ts";
import { attachmentOps } from "./kinds/attachment.ts";
import { forwardingOps } from "./kinds/forwarding.ts";
import { hostPortHairpinOps, hostPortOps } from "./kinds/host-port.ts";
import { masqueradeInsideOps, masqueradeSourceOps } from "./kinds/masquerade.ts";
import { neighbourOps } from "./kinds/neighbour.ts";
import { routeOps } from "./kinds/route.ts";
import { ruleOps } from "./kinds/rule.ts";
import { sysctlOps } from "./kinds/sysctl.ts";
import { tunnelOps } from "./kinds/tunnel.ts";
import {
  frontendOps,
  hairpinOps,
  nodePortAddressOps,
  nodeSourceOps,
  podRangeOps,
  serviceAddressOps,
} from "./services/ops.ts";

// biome-ignore lint/suspicious/noExplicitAny: each kind has an object type of its own that nobody outside reads.
type AnyOps<K extends PlanKind> = (context: KindContext<K>) => KindOps<K, any>;

export const KINDS: { readonly [K in PlanKind]: AnyOps<K> } = {
  sysctl: sysctlOps,
  "allowed-source": allowedSourceOps,
  "masquerade-inside": masqueradeInsideOps,
  "masquerade-source": masqueradeSourceOps,
  tunnel: tunnelOps,
  attachment: attachmentOps,
  address: addressOps,
  neighbour: neighbourOps,
  forwarding: forwardingOps,
  route: routeOps,
  rule: ruleOps,
  "host-port-hairpin": hostPortHairpinOps,
  "host-port": hostPortOps,
  "node-source": nodeSourceOps,
  "pod-range": podRangeOps,
  hairpin: hairpinOps,
  "node-port-address": nodePortAddressOps,
  frontend: frontendOps,
  "service-address": serviceAddressOps,
};
