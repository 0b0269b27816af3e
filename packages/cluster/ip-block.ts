/**
 * IPBlock (weft.network/v1alpha1) into its row, and back: this is a kind that Weft itself writes. What is wrong in one of
 * them is a fault of the whole, since whoever writes it again would otherwise take out what it could not read.
 */
import { contains, familyOf, hostPrefix, type IpAddress, type Prefix, prefixLength } from "@weft/base";
import {
  type Allocation,
  API_GROUP,
  type Block,
  blockName,
  type IpBlock,
  type Loan,
  type Origin,
  POOLS_API_VERSION,
} from "@weft/model";
import { ipOf, prefixOf, refuseSpecial } from "./addresses.ts";
import type { Field } from "./field.ts";
import { timeOf } from "./ip-pool.ts";
import { originOf, readMetadata } from "./metadata.ts";
import { subdomainFault } from "./names.ts";
import { type Notes, noteOthers } from "./unhonoured.ts";

export const POOL_LABEL = `${API_GROUP}/pool`;
export const NODE_LABEL = `${API_GROUP}/node`;

const LENGTHS = { 4: [20, 32], 6: [116, 128] } as const;

/** Without `allocations` those of its status are not looked at, and the row has none and no `reported`. */
export function readIpBlock(object: Field, notes: Notes, allocations = true): IpBlock {
  const metadata = readMetadata(object, notes);
  noteOthers(object, ["apiVersion", "kind", "metadata", "spec", "status"], [], notes);
  const spec = object.at("spec");
  noteOthers(spec, ["cidr", "pool", "poolUID", "node", "tunnelAddress", "loans"], [], notes);
  const prefix = readPrefix(spec.at("cidr"));
  if (prefix !== undefined && metadata.name !== undefined && metadata.name !== blockName(prefix)) {
    object
      .at("metadata")
      .at("name")
      .invalid(`must be ${blockName(prefix)}, which follows from spec.cidr`);
  }
  const status = object.at("status");
  const version = object.at("metadata").at("resourceVersion").value;
  return {
    name: metadata.name ?? "",
    uid: metadata.uid ?? "",
    resourceVersion: typeof version === "string" ? version : "",
    prefix: prefix ?? ("" as Prefix),
    pool: spec.at("pool").requiredString(subdomainFault) ?? "",
    poolUid: spec.at("poolUID").requiredString() ?? "",
    node: spec.at("node").optionalString(subdomainFault),
    tunnelAddress: addressIn(prefix, spec.at("tunnelAddress")),
    loans: readLoans(spec.at("loans"), prefix, notes),
    allocations: allocations
      ? status
          .at("allocations")
          .items()
          .flatMap((item) => readAllocation(item, prefix, notes))
      : [],
    reported: allocations ? timeOf(status.at("reported").value) : undefined,
    origin: originOf("IPBlock", metadata, false),
  };
}

function readPrefix(field: Field): Prefix | undefined {
  const prefix = prefixOf(field);
  if (prefix === undefined || refuseSpecial(field, prefix)) return undefined;
  const [least, most] = LENGTHS[familyOf(prefix)];
  const length = prefixLength(prefix);
  if (length >= least && length <= most) return prefix;
  field.invalid(`its length must be between ${least} and ${most}, inclusive`);
  return undefined;
}

/** An address that may be absent, and must be of the block. */
function addressIn(prefix: Prefix | undefined, field: Field): IpAddress | undefined {
  const address = field.present ? ipOf(field) : undefined;
  if (address === undefined || prefix === undefined) return undefined;
  if (contains(prefix, hostPrefix(address))) return address;
  field.invalid(`must be an address of ${prefix}`);
  return undefined;
}

function readLoans(list: Field, prefix: Prefix | undefined, notes: Notes): Loan[] {
  const ids = new Set<string>();
  const addresses = new Set<string>();
  return list.items().map((item): Loan => {
    noteOthers(item, ["id", "node", "wanted", "address", "refused", "returned", "tunnel", "pod"], [], notes);
    const id = item.at("id").requiredString() ?? "";
    if (ids.has(id)) item.at("id").fault(`Duplicate value: ${JSON.stringify(id)}`);
    ids.add(id);
    const address = addressIn(prefix, item.at("address"));
    if (address !== undefined && addresses.has(address)) {
      item.at("address").fault(`Duplicate value: "${address}"`);
    }
    if (address !== undefined) addresses.add(address);
    return {
      id,
      node: item.at("node").requiredString(subdomainFault) ?? "",
      wanted: addressIn(prefix, item.at("wanted")),
      address,
      refused: item.at("refused").string(),
      returned: item.at("returned").boolean() === true,
      tunnel: item.at("tunnel").boolean() === true,
      pod: item.at("pod").string(),
    };
  });
}

function readAllocation(item: Field, prefix: Prefix | undefined, notes: Notes): Allocation[] {
  noteOthers(item, ["address", "pod", "podUID", "containerID", "node", "since"], [], notes);
  if (!item.at("address").present) item.at("address").required();
  const address = addressIn(prefix, item.at("address"));
  if (address === undefined) return [];
  return [
    {
      address,
      pod: item.at("pod").string(),
      podUid: item.at("podUID").string(),
      containerId: item.at("containerID").string(),
      node: item.at("node").optionalString(subdomainFault),
      since: timeOf(item.at("since").value) ?? 0,
    },
  ];
}

/**
 * What an IPBlock comes to: the node's range, and every address that is on loan, one each. A loan counts from when it is
 * granted until the borrower says that it is done with it. Of a block that is one address, and lent, only the loan is left.
 */
export function blocksOf({ name, uid, prefix, pool, node, tunnelAddress, loans }: IpBlock): Block[] {
  const origin = (field?: string): Origin => ({
    kind: "IPBlock",
    name,
    uid,
    ...(field === undefined ? {} : { field }),
  });
  const lent = loans.flatMap((loan, i): Block[] => {
    const { address, returned, tunnel } = loan;
    if (address === undefined || returned) return [];
    return [
      {
        prefix: hostPrefix(address),
        node: loan.node,
        pool,
        ...(tunnel ? { tunnelAddress: address } : {}),
        lentFrom: prefix,
        origin: origin(`spec.loans[${i}]`),
      },
    ];
  });
  if (node === undefined || lent.some((b) => b.prefix === prefix)) return lent;
  const own = tunnelAddress === undefined ? {} : { tunnelAddress };
  return [{ prefix, node, pool, ...own, origin: origin() }, ...lent];
}

/** A block that is to be claimed. */
export type NewBlock = Pick<IpBlock, "prefix" | "pool" | "poolUid" | "node" | "tunnelAddress" | "loans">;

/** What of a block is written to an object of kind IPBlock; all of it but for status, which is a write of its own. */
export function ipBlockObject(block: NewBlock & Partial<Pick<IpBlock, "uid" | "resourceVersion">>) {
  const { uid, resourceVersion, prefix, pool, poolUid, node, tunnelAddress, loans } = block;
  return {
    apiVersion: POOLS_API_VERSION,
    kind: "IPBlock",
    metadata: {
      name: blockName(prefix),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      labels: {
        [POOL_LABEL]: labelValue(pool),
        ...(node === undefined ? {} : { [NODE_LABEL]: labelValue(node) }),
      },
    },
    spec: {
      cidr: prefix,
      pool,
      poolUID: poolUid,
      ...(node === undefined ? {} : { node }),
      ...(tunnelAddress === undefined ? {} : { tunnelAddress }),
      ...(loans.length === 0 ? {} : { loans: loans.map(loanObject) }),
    },
  };
}

function loanObject({ id, node, wanted, address, refused, returned, tunnel, pod }: Loan): object {
  return {
    id,
    node,
    ...(wanted === undefined ? {} : { wanted }),
    ...(address === undefined ? {} : { address }),
    ...(refused === undefined ? {} : { refused }),
    ...(returned ? { returned } : {}),
    ...(tunnel ? { tunnel } : {}),
    ...(pod === undefined ? {} : { pod }),
  };
}

export interface BlockReport {
  readonly allocations: readonly Allocation[];
  /** Addresses that somebody has, and addresses that somebody could get. */
  readonly used: number;
  readonly free: number;
  /** Milliseconds since the epoch. */
  readonly reported: number;
}

/** `status` of an IPBlock. */
export function ipBlockStatus({ allocations, used, free, reported }: BlockReport): object {
  return {
    allocations: allocations.map(({ address, pod, podUid, containerId, node, since }) => ({
      address,
      ...(pod === undefined ? {} : { pod }),
      ...(podUid === undefined ? {} : { podUID: podUid }),
      ...(containerId === undefined ? {} : { containerID: containerId }),
      ...(node === undefined ? {} : { node }),
      since: new Date(since).toISOString(),
    })),
    used,
    free,
    loans: allocations.filter(({ node }) => node !== undefined).length,
    reported: new Date(reported).toISOString(),
  };
}

/** A name as the value of a label, which has 63 characters at most; of longer ones the end is a digest. */
export function labelValue(name: string): string {
  if (name.length <= 63) return name;
  const digest = new Bun.CryptoHasher("sha256").update(name).digest("hex").slice(0, 12);
  return `${name.slice(0, 50)}-${digest}`;
}
