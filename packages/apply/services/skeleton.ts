/**
 * The part of table inet weft-services that never changes, whatever services there are: sets, base chains and the chains that
 * look a packet's destination up. Elements, and the few chains of profiles (chains.ts), are all else.
 *
 *   gate       filter, prerouting and output, -110 (before translation), new connections
 *                frontends that reject, drop, or take some sources only
 *   services   nat, prerouting and output, dstnat (-100): frontend -> profile -> chain that picks a backend
 *   after      filter, prerouting and output, -90: remembers clients; what is translated passes; what is still
 *                bound for a service's address is rejected, never routed on
 *   source     nat, postrouting, 95 (before srcnat): a pod that reached itself, and clients from elsewhere, get an
 *                address of this node
 *   invalid    filter, forward and input, 0: what connection tracking cannot place, from or to pods, is dropped: a
 *                late packet of a translated connection would reach a pod untranslated, which answers with a reset
 *
 * Lookups come in four: by address and, where the address is one of the node's for node ports, by port (with a zero for the
 * address); each first among frontends for outside sources (neither a pod of this node nor the node itself), then among all.
 */
import type { Family } from "@weft/base";
import type { NftStep } from "@weft/kernel/nftables";
import {
  ACCEPT,
  address,
  CT_STATE,
  CT_STATUS,
  clear,
  compare,
  counter,
  ctState,
  ctStatus,
  DROP,
  type Expression,
  entersBy,
  goTo,
  isFamily,
  jumpTo,
  leavesBy,
  lookup,
  lookupValue,
  lookupVerdict,
  masquerade,
  meta,
  originalDestination,
  originalPort,
  port,
  reject,
  sourceIsLocal,
  sourceNat,
  verdict,
} from "@weft/kernel/nftables/expressions";
import { ipSize, PROTOCOLS } from "./bytes.ts";
import { FAMILIES, frontendsOf, permittedOf, SETS, type Stage } from "./layout.ts";

/** Registers that an address takes. */
export const words = (family: Family): number => ipSize(family) / 4;

/** Loads address (zero for a node port), protocol and port of the frontend that was called, from register `at`. */
export function loadFrontend(family: Family, node: boolean, original: boolean, at = 0): Expression[] {
  const next = at + words(family);
  const ip = original ? originalDestination(family, at) : address(family, "destination", at);
  return [
    ip,
    ...(node ? [clear(at, ipSize(family))] : []),
    meta("l4proto", next),
    original ? originalPort(next + 1) : port("destination", next + 1),
  ];
}

type Rule = Omit<Extract<NftStep, { do: "rule" }>, "do" | "chain">;

/**
 * What `stage` says of a frontend's profile, for one of the four lookups. The value of a frontend begins one register before
 * the profile that is the next key: nft 1.0.6 ends with a failed assertion when it lists a rule that uses a map's value as
 * a key. It takes the registers behind for what they held before, so that the rule's comment has to name the map.
 */
function stageLookup(stage: Stage, family: Family, outside: boolean, node: boolean, original: boolean): Rule {
  const ip = original ? originalDestination(family, 0) : address(family, "destination", 0);
  return {
    comment: `profile in ${frontendsOf(family, outside)}${node ? ", node port" : ""}`,
    expressions: [
      ...isFamily(family),
      ...(node ? [ip, lookup(`node-addresses${family}`, 0)] : []),
      ...loadFrontend(family, node, original, 1),
      lookupValue(frontendsOf(family, outside), 1, 0),
      lookupVerdict(`${stage}${family}`, 1),
    ],
  };
}

const stageLookups = (stage: Stage, outside: boolean, original: boolean): Rule[] =>
  [false, true].flatMap((node) =>
    (outside ? [true, false] : [false]).flatMap((scope) =>
      FAMILIES.map((family) => stageLookup(stage, family, scope, node, original)),
    ),
  );

const rule = (comment: string, ...expressions: (Expression | Expression[])[]): Rule => ({
  comment,
  expressions: expressions.flat(),
});

const fromLocalPod = (chain: string): Rule[] =>
  FAMILIES.map((family) =>
    rule(
      "from a pod of this node",
      isFamily(family),
      address(family, "source", 0),
      lookup(`local${family}`, 0),
      verdict(goTo(chain)),
    ),
  );

const onLoopback = rule("the output hook has seen it", entersBy("lo"), verdict(ACCEPT));

/** The chain that lets permitted sources pass: one for each kind of frontend. */
export const permitChain = (family: Family, outside: boolean, node: boolean, rejects: boolean): string =>
  `permit${outside ? "-outside" : ""}${node ? "-node" : ""}${rejects ? "-reject" : ""}${family}`;

function permitChains(): [string, Rule[]][] {
  const both = [false, true];
  return FAMILIES.flatMap((family) =>
    both.flatMap((outside) =>
      both.flatMap((node) =>
        both.map((rejects): [string, Rule[]] => [
          permitChain(family, outside, node, rejects),
          [
            rule(
              "permitted sources",
              isFamily(family),
              loadFrontend(family, node, false),
              address(family, "source", words(family) + 2),
              lookup(permittedOf(family, outside), 0),
              verdict(rejects ? goTo("refuse") : ACCEPT),
            ),
            rule("any other source", counter(), verdict(DROP)),
          ],
        ]),
      ),
    ),
  );
}

const serviceAddresses = FAMILIES.flatMap((family) =>
  ["addresses", "ranges"].map((set) =>
    rule(
      "a service's address that leads nowhere",
      isFamily(family),
      address(family, "destination", 0),
      lookup(`${set}${family}`, 0),
      verdict(goTo("refuse")),
    ),
  ),
);

const ofCluster = FAMILIES.flatMap((family) =>
  (["source", "destination"] as const).map((end) =>
    rule(
      `${end} is a pod`,
      isFamily(family),
      address(family, end, 0),
      lookup(`cluster${family}`, 0),
      counter(),
      verdict(DROP),
    ),
  ),
);

const remembering = (chain: string): Rule[] => [
  rule(
    "remember the client",
    ctState(CT_STATE.new),
    ctStatus(CT_STATUS.destinationTranslated),
    verdict(jumpTo(chain)),
  ),
  rule("translated", ctStatus(CT_STATUS.destinationTranslated), verdict(ACCEPT)),
];

const toNodeSource = (family: Family): Expression[] => [
  meta("nfproto", 0),
  lookupValue(`node-source${family}`, 0, 0),
  sourceNat(family, 0),
];

const sources: Rule[] = [
  ...FAMILIES.map((family) =>
    rule(
      "a pod that reached itself",
      isFamily(family),
      ctStatus(CT_STATUS.destinationTranslated),
      address(family, "source", 0),
      address(family, "destination", words(family)),
      lookup(`hairpins${family}`, 0),
      toNodeSource(family),
    ),
  ),
  rule("not translated", ctStatus(CT_STATUS.destinationTranslated, false), verdict(ACCEPT)),
  rule("this node's own, into a tunnel", leavesBy("weft-"), sourceIsLocal(), masquerade()),
  rule("this node's own", sourceIsLocal(), verdict(ACCEPT)),
  ...FAMILIES.map((family) =>
    rule(
      "a pod of this node",
      isFamily(family),
      address(family, "source", 0),
      lookup(`local${family}`, 0),
      verdict(ACCEPT),
    ),
  ),
  ...stageLookups("masquerade", true, true),
];

const masqueradeChain = (family: Family): [string, Rule[]] => [
  `foreign${family}`,
  [
    rule("into a tunnel: its address", leavesBy("weft-"), masquerade()),
    // A pod's link has a link-local address only.
    rule("to a pod of this node", leavesBy("weft"), toNodeSource(family)),
    rule("to elsewhere", masquerade()),
  ],
];

const CHAINS: readonly (readonly [string, readonly Rule[]])[] = [
  [
    "refuse",
    [
      rule("TCP", meta("l4proto", 0), compare(0, Uint8Array.of(PROTOCOLS.tcp)), reject("tcp-reset")),
      rule("all else", reject("port-unreachable")),
    ],
  ],
  ...permitChains(),
  ...FAMILIES.map(masqueradeChain),
  ["gate", stageLookups("gates", false, false)],
  ["gate-outside", stageLookups("gates", true, false)],
  ["services", stageLookups("balance", false, false)],
  ["services-outside", stageLookups("balance", true, false)],
  ["remember", stageLookups("remember", false, true)],
  ["remember-outside", stageLookups("remember", true, true)],
  [
    "remember-prerouting",
    [...fromLocalPod("remember"), rule("from outside", verdict(goTo("remember-outside")))],
  ],
  ["invalid", ofCluster],
];

type Base = NonNullable<Extract<NftStep, { do: "chain" }>["base"]>;

const notNew = rule("not new", ctState(CT_STATE.new, false), verdict(ACCEPT));
const isInvalid = rule("invalid", ctState(CT_STATE.invalid), verdict(jumpTo("invalid")));

export const BASE_CHAINS: readonly (readonly [string, Base, readonly Rule[]])[] = [
  [
    "gate-prerouting",
    { type: "filter", hook: "prerouting", priority: -110 },
    [notNew, onLoopback, ...fromLocalPod("gate"), rule("from outside", verdict(goTo("gate-outside")))],
  ],
  [
    "gate-output",
    { type: "filter", hook: "output", priority: -110 },
    [notNew, rule("this node's own", verdict(goTo("gate")))],
  ],
  [
    "services-prerouting",
    { type: "nat", hook: "prerouting", priority: -100 },
    [...fromLocalPod("services"), rule("from outside", verdict(goTo("services-outside")))],
  ],
  [
    "services-output",
    { type: "nat", hook: "output", priority: -100 },
    [rule("this node's own", verdict(goTo("services")))],
  ],
  [
    "after-prerouting",
    { type: "filter", hook: "prerouting", priority: -90 },
    [...remembering("remember-prerouting"), onLoopback, ...serviceAddresses],
  ],
  [
    "after-output",
    { type: "filter", hook: "output", priority: -90 },
    [...remembering("remember"), ...serviceAddresses],
  ],
  ["source", { type: "nat", hook: "postrouting", priority: 95 }, sources],
  ["invalid-forward", { type: "filter", hook: "forward", priority: 0 }, [isInvalid]],
  ["invalid-input", { type: "filter", hook: "input", priority: 0 }, [isInvalid]],
];

/** Sets, then chains without rules (rules name each other's chains), then rules. */
export const SKELETON: readonly NftStep[] = [
  ...SETS.map((set): NftStep => ({ do: "set", ...set })),
  ...CHAINS.map(([chain]): NftStep => ({ do: "chain", chain })),
  ...BASE_CHAINS.map(([chain, base]): NftStep => ({ do: "chain", chain, base })),
  ...[...CHAINS, ...BASE_CHAINS.map(([chain, , rules]) => [chain, rules] as const)].flatMap(
    ([chain, rules]) => rules.map((r): NftStep => ({ do: "rule", chain, ...r })),
  ),
];

/** The same text for the same skeleton: a table with another one is made anew. */
export const SKELETON_COMMENT = `Weft's services ${Bun.hash(
  JSON.stringify(SKELETON, (_, value: unknown) =>
    typeof value === "bigint" ? `${value}` : value instanceof Uint8Array ? [...value] : value,
  ),
).toString(16)}`;
