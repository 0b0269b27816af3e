/** Names and sets of the services' table. What they are for is in skeleton.ts. */
import type { Family } from "@weft/base";
import type { ColumnType, SetDeclaration } from "@weft/kernel/nftables";

export const SERVICES_TABLE = "weft-services";
export const FAMILIES: readonly Family[] = [4, 6];
/** Clients that are remembered at once, of all services of a family. */
const MAX_AFFINITY = 131_072;

const ip = (family: Family): ColumnType => (family === 4 ? "ipv4" : "ipv6");

export const frontendsOf = (family: Family, outside: boolean): string =>
  `${outside ? "outside" : "frontends"}${family}`;
export const permittedOf = (family: Family, outside: boolean): string =>
  `permitted${outside ? "-outside" : ""}${family}`;

/** Maps from profiles to chains, one a stage. */
export const STAGES = ["gates", "balance", "remember", "masquerade"] as const;
export type Stage = (typeof STAGES)[number];

export const SETS: readonly SetDeclaration[] = FAMILIES.flatMap((family): SetDeclaration[] => {
  const address = ip(family);
  const frontend = [address, "protocol", "port"] as const;
  const profile = ["mark", "mark"] as const;
  const slotsAndProfile = ["mark", ...profile] as const;
  return [
    { set: `frontends${family}`, key: frontend, value: slotsAndProfile },
    { set: `outside${family}`, key: frontend, value: slotsAndProfile },
    { set: `backends${family}`, key: [...frontend, "mark"], value: [address, "port"] },
    {
      set: `affinity${family}`,
      key: [address, ...frontend],
      value: [address, "port"],
      dynamic: true,
      size: MAX_AFFINITY,
    },
    ...STAGES.map((stage) => ({ set: `${stage}${family}`, key: profile, value: "verdict" as const })),
    { set: `permitted${family}`, key: [...frontend, address], interval: true },
    { set: `permitted-outside${family}`, key: [...frontend, address], interval: true },
    { set: `node-addresses${family}`, key: [address] },
    { set: `node-source${family}`, key: ["nfproto"], value: [address] },
    { set: `hairpins${family}`, key: [address, address] },
    { set: `local${family}`, key: [address], interval: true },
    { set: `cluster${family}`, key: [address], interval: true },
    { set: `addresses${family}`, key: [address] },
    { set: `ranges${family}`, key: [address], interval: true },
  ];
});
