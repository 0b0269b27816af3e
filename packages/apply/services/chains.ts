/** The chains of a profile, and where each stage goes with it. They are made with the first frontend that has the profile. */
import type { Family } from "@weft/base";
import type { NftStep, Verdict } from "@weft/kernel/nftables";
import {
  ACCEPT,
  address,
  clear,
  DROP,
  destinationNat,
  type Expression,
  goTo,
  isFamily,
  jenkinsHash,
  lookupValue,
  meta,
  originalDestination,
  originalPort,
  port,
  randomNumber,
  updateElement,
} from "@weft/kernel/nftables/expressions";
import { ipSize } from "./bytes.ts";
import type { Stage } from "./layout.ts";
import { type Profile, slotOffset } from "./profile.ts";
import { loadFrontend, permitChain, words } from "./skeleton.ts";

/** The same on every node: a client's slot does not depend on which node it reaches. */
const MAGLEV_SEED = 0x77656674;

type Rule = Omit<Extract<NftStep, { do: "rule" }>, "do" | "chain">;
export interface Chain {
  readonly chain: string;
  readonly rules: readonly Rule[];
}

/** Picks a slot, and translates to its backend. */
function balanceChain(p: Profile, family: Family): Chain | undefined {
  if (p.slots === 0) return undefined;
  const slot = words(family) + 2;
  const offset = slotOffset(p.outside);
  const source: Expression[] = [
    address(family, "source", slot),
    port("source", slot + words(family)),
    jenkinsHash(slot, ipSize(family) + 4, p.slots, MAGLEV_SEED, offset, slot),
  ];
  const rules: Rule[] = [];
  if (p.affinity > 0) {
    rules.push({
      comment: "a client that is remembered",
      expressions: [
        ...isFamily(family),
        address(family, "source", 0),
        ...loadFrontend(family, p.node, false, words(family)),
        lookupValue(`affinity${family}`, 0, 0),
        destinationNat(family, 0, words(family)),
      ],
    });
  }
  rules.push({
    comment: p.maglev ? "by its source" : "at random",
    expressions: [
      ...isFamily(family),
      ...loadFrontend(family, p.node, false),
      ...(p.maglev ? source : [randomNumber(p.slots, offset, slot)]),
      lookupValue(`backends${family}`, 0, 0),
      destinationNat(family, 0, words(family)),
    ],
  });
  const kind = `${p.affinity > 0 ? "affine" : "balance"}${p.maglev ? "-maglev" : ""}`;
  return {
    chain: `${kind}${p.outside ? "-outside" : ""}${p.node ? "-node" : ""}-${p.slots}-${family}`,
    rules,
  };
}

/** Writes down which backend a client got. */
function rememberChain(p: Profile, family: Family): Chain | undefined {
  if (p.affinity === 0) return undefined;
  const w = words(family);
  const value = 2 * w + 2;
  return {
    chain: `remember${p.node ? "-node" : ""}-${p.affinity}s-${family}`,
    rules: [
      {
        comment: "client and backend",
        expressions: [
          ...isFamily(family),
          address(family, "source", 0),
          originalDestination(family, w),
          ...(p.node ? [clear(w, ipSize(family))] : []),
          meta("l4proto", 2 * w),
          originalPort(2 * w + 1),
          address(family, "destination", value),
          port("destination", value + w),
          updateElement(`affinity${family}`, 0, value, p.affinity * 1000),
        ],
      },
    ],
  };
}

export interface ProfileChains {
  readonly chains: readonly Chain[];
  readonly verdicts: readonly (readonly [stage: Stage, verdict: Verdict])[];
}

function gateVerdict(p: Profile, family: Family): Verdict {
  switch (p.gate) {
    case "open":
      return ACCEPT;
    case "reject":
      return goTo("refuse");
    case "drop":
      return DROP;
    case "permit":
    case "permit-reject":
      return goTo(permitChain(family, p.outside, p.node, p.gate === "permit-reject"));
  }
}

/** Accept means that no other lookup is asked: a frontend for outside sources hides the one for all. */
export function chainsOf(p: Profile, family: Family): ProfileChains {
  const balance = balanceChain(p, family);
  const remember = rememberChain(p, family);
  return {
    chains: [balance, remember].filter((chain) => chain !== undefined),
    verdicts: [
      ["gates", gateVerdict(p, family)],
      ...(balance === undefined ? [] : [["balance", goTo(balance.chain)] as const]),
      ["remember", remember === undefined ? ACCEPT : goTo(remember.chain)],
      ["masquerade", p.masquerade ? goTo(`foreign${family}`) : ACCEPT],
    ],
  };
}
