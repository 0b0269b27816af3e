/**
 * The audit's comparison: what a node holds of addresses against what uses them. Pure: facts in, findings out, the same
 * for the same facts, in whatever order these come.
 *
 *   ledger ---- attachments whose pod or namespace is gone        (leftovers; orphans.ts)
 *     |    ---- links, and addresses inside of pods               (the kernel)
 *     |    ---- blocks of this node, loans to and from others     (Node, IPBlocks)
 *
 * `settle` says for how long a difference has to stand before it is one: an ADD, a DEL or a repair is under way all the time.
 */
import { contains, type IpAddress, type Prefix } from "@weft/base";
import type { HeldAddress, LedgerEntry } from "@weft/ipam";
import { type AddressOrigin, type AuditFinding, blockName, type IpBlock, type Workload } from "@weft/model";
import type { Suspect } from "./orphans.ts";
import { objectOf, originOfWorkload } from "./words.ts";

/** A range that this node gives addresses out of, or one address that it borrowed. */
export interface OwnRange {
  readonly prefix: Prefix;
  readonly pool: string | undefined;
  /** "lost": the API server has no such block of this node any more. */
  readonly state: "open" | "closed" | "lost";
  /** Of a borrowed address: the block that it is lent from. */
  readonly lentFrom: Prefix | undefined;
}

export interface AuditFacts {
  readonly node: string;
  readonly entries: readonly LedgerEntry[];
  /** Ids of those that somebody works on at this moment. */
  readonly busy: ReadonlySet<string>;
  /** Ids of those that should have gone, with the reason why they are there and what was in the way. */
  readonly stuck: ReadonlyMap<string, { readonly why: string; readonly error: string }>;
  readonly suspects: readonly Suspect[];
  /** Ends of pods' pairs that are on the node, by name. */
  readonly links: ReadonlySet<string>;
  /** Addresses that host routes lead to by links that no entry explains, by link. */
  readonly strayRoutes: ReadonlyMap<string, readonly IpAddress[]>;
  /** Addresses of any scope but link on a pod's interface, by id; of those that were looked at. */
  readonly inside: ReadonlyMap<string, readonly IpAddress[]>;
  /** Undefined while the node's own ranges are not known. */
  readonly ranges: readonly OwnRange[] | undefined;
  /** Addresses of own blocks that are held for other nodes and for tunnels. */
  readonly held: readonly HeldAddress[];
  /** IPBlocks of this node, and with loans to it; undefined while the API is away, or there are none. */
  readonly blocks: readonly IpBlock[] | undefined;
  /** Repair is suspended. */
  readonly paused: boolean;
}

/** A finding before anybody has kept time. */
export interface Found extends Omit<AuditFinding, "since" | "due"> {
  /** Milliseconds that it has to stand before it is told. */
  readonly settle: number;
  /** Milliseconds from now until it is put right. */
  readonly left: number | undefined;
  /** Since when it stands, where that is known better than by looking; milliseconds since the epoch. */
  readonly since?: number;
}

const AT_ONCE = 0;
/** Longer than any repair takes. */
const REPAIRED_MS = 15_000;
/** Longer than it takes to write an object, also under load. */
const WRITTEN_MS = 60_000;

export function compare(facts: AuditFacts): Found[] {
  return [
    ...leftovers(facts),
    ...links(facts),
    ...insides(facts),
    ...outside(facts),
    ...twice(facts),
    ...loans(facts),
    ...mirror(facts),
  ].sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** A finding about an attachment. */
function about(
  facts: AuditFacts,
  workload: Workload,
  rest: Pick<Found, "code" | "message" | "remedy" | "needsPerson" | "settle"> & Partial<Found>,
): Found {
  return {
    key: `${rest.code} ${workload.id}`,
    object: objectOf(workload),
    addresses: workload.addresses,
    origin: originOfWorkload(workload, facts.node),
    left: undefined,
    ...rest,
  };
}

function leftovers(facts: AuditFacts): Found[] {
  const { entries, stuck, suspects } = facts;
  const byId = new Map(entries.map((e) => [e.workload.id, e.workload]));
  const found: Found[] = [];
  for (const [id, { why, error }] of stuck) {
    const workload = byId.get(id);
    if (workload === undefined) continue;
    found.push(
      about(facts, workload, {
        code: "stuck",
        message: `${why}, and it cannot be taken away: ${error}`,
        remedy: "It is tried again every few seconds; the addresses are held until then.",
        needsPerson: true,
        settle: REPAIRED_MS,
      }),
    );
  }
  for (const { id, code, left, seen, since } of suspects) {
    const workload = byId.get(id);
    if (workload === undefined || stuck.has(id)) continue;
    const why =
      code === "pod-gone" ? "the API has no such pod any more" : "the same pod has another sandbox by now";
    if (seen === "lives") {
      found.push(
        about(facts, workload, {
          code: "sandbox-lives",
          message: `${why}, but processes of its sandbox live`,
          remedy:
            "Its addresses stay in use as long as they do, and come back by themselves then. If they should not run, end " +
            "the container by its runtime: crictl stopp, crictl rmp.",
          needsPerson: true,
          settle: AT_ONCE,
          since,
        }),
      );
    } else if (seen === "cannot see") {
      found.push(
        about(facts, workload, {
          code: "unseen",
          message: `${why}, and this agent cannot see whether anything of its sandbox lives`,
          remedy:
            "Let it see: host PID namespace and CAP_SYS_PTRACE, or the node's /sys/fs/cgroup at /host/sys/fs/cgroup. Or free " +
            `it by hand: weft ipam release ${workload.containerId} --force`,
          needsPerson: true,
          settle: AT_ONCE,
          since,
        }),
      );
    } else {
      found.push(
        about(facts, workload, {
          code,
          message: why,
          remedy:
            "Its addresses are reclaimed when the grace is over, unless something of its sandbox lives.",
          needsPerson: false,
          settle: AT_ONCE,
          left,
          since,
        }),
      );
    }
  }
  return found;
}

function links(facts: AuditFacts): Found[] {
  const { entries, busy, paused } = facts;
  const explained = new Map(entries.map((e) => [e.workload.hostLink, e]));
  const remedy = paused
    ? "Repair is paused: it is removed when the pause ends."
    : "The agent removes it within seconds.";
  const found: Found[] = [];
  for (const link of facts.links) {
    if (explained.has(link)) continue;
    const addresses = facts.strayRoutes.get(link) ?? [];
    const leadsTo = addresses.length === 0 ? "" : `, and routes to ${addresses.join(", ")} lead to it`;
    found.push({
      key: `link-unexplained ${link}`,
      code: "link-unexplained",
      object: `link ${link}`,
      addresses,
      message: `no attachment explains it${leadsTo}`,
      remedy,
      origin: undefined,
      needsPerson: false,
      settle: AT_ONCE,
      left: undefined,
    });
  }
  for (const { workload, state } of entries) {
    if (state !== "ready" || busy.has(workload.id) || facts.links.has(workload.hostLink)) continue;
    found.push(
      about(facts, workload, {
        code: "link-missing",
        message: `the node's end ${workload.hostLink} of its pair is gone`,
        remedy: paused
          ? "Repair is paused: it is made anew when the pause ends."
          : "The agent makes it anew; if that fails, weft status says why.",
        needsPerson: false,
        settle: REPAIRED_MS,
      }),
    );
  }
  return found;
}

function insides(facts: AuditFacts): Found[] {
  const { entries, inside } = facts;
  const holders = new Map(entries.flatMap(({ workload: w }) => w.addresses.map((a) => [a, w] as const)));
  return entries.flatMap(({ workload, state }) => {
    const there = inside.get(workload.id);
    if (there === undefined || state !== "ready" || facts.busy.has(workload.id)) return [];
    const found: Found[] = [];
    for (const address of there.filter((a) => !workload.addresses.includes(a))) {
      const holder = holders.get(address);
      const whose = holder === undefined ? "nobody was given" : `${objectOf(holder)} holds`;
      found.push(
        about(facts, workload, {
          key: `foreign-inside ${workload.id} ${address}`,
          code: "foreign-inside",
          addresses: [address],
          message: `${workload.interface} inside of it has ${address}, which ${whose}; it was given ${workload.addresses.join(", ")}`,
          remedy:
            "Packets from that address are dropped. Something in the pod set it: find out what, or start the pod anew.",
          needsPerson: true,
          settle: REPAIRED_MS,
        }),
      );
    }
    const missing = workload.addresses.filter((a) => !there.includes(a));
    if (missing.length > 0) {
      found.push(
        about(facts, workload, {
          code: "missing-inside",
          addresses: missing,
          message: `${workload.interface} inside of it lacks ${missing.join(", ")}, which it was given`,
          remedy: facts.paused
            ? "Repair is paused: it is put back when the pause ends."
            : "The agent puts it back; if that fails, weft status says why.",
          needsPerson: false,
          settle: REPAIRED_MS,
        }),
      );
    }
    return found;
  });
}

function outside(facts: AuditFacts): Found[] {
  const { entries, ranges } = facts;
  if (ranges === undefined) return [];
  const good = ranges.filter((r) => r.state !== "lost");
  return entries.flatMap(({ workload, state }) => {
    if (state !== "ready" || facts.busy.has(workload.id)) return [];
    const lost = workload.addresses.filter((a) => !good.some((r) => contains(r.prefix, a)));
    if (lost.length === 0) return [];
    const from = ranges.find((r) => r.state === "lost" && lost.some((a) => contains(r.prefix, a)));
    const why =
      from === undefined
        ? "in no block and no podCIDR of this node"
        : `of block ${from.prefix}, which is not this node's any more`;
    return [
      about(facts, workload, {
        code: "outside-blocks",
        addresses: lost,
        message: `${lost.join(", ")} ${lost.length === 1 ? "is" : "are"} ${why}: others may not reach it, and another node may give it out`,
        remedy: "Start the pod anew, so that it gets another address; or give the node that range again.",
        needsPerson: true,
        settle: WRITTEN_MS,
      }),
    ];
  });
}

/** The ledger's keys keep it from having an address twice; nothing keeps two nodes from it but the API. */
function twice(facts: AuditFacts): Found[] {
  const { entries, held, blocks, node } = facts;
  const found: Found[] = [];
  const seen = new Map<IpAddress, string>();
  const say = (address: IpAddress, one: string, other: string, workload: Workload | undefined): void => {
    found.push({
      key: `address-twice ${address}`,
      code: "address-twice",
      object: workload === undefined ? `address ${address}` : objectOf(workload),
      addresses: [address],
      message: `${address} is held by ${one} and by ${other}`,
      remedy: "Start the younger of the two anew, and please report this with weft ipam show --json.",
      origin: workload === undefined ? undefined : originOfWorkload(workload, node),
      needsPerson: true,
      settle: WRITTEN_MS,
      left: undefined,
    });
  };
  for (const { workload } of entries) {
    for (const address of workload.addresses) {
      const other = seen.get(address);
      if (other !== undefined) say(address, other, objectOf(workload), workload);
      seen.set(address, objectOf(workload));
    }
  }
  for (const { address, node: holder } of held) {
    const other = seen.get(address);
    if (other !== undefined) say(address, other, `node ${holder}`, undefined);
  }
  for (const block of (blocks ?? []).filter((b) => b.node !== undefined && b.node !== node)) {
    const ours = new Set(
      block.loans.flatMap((l) => (l.node === node && l.address !== undefined ? l.address : [])),
    );
    for (const { workload } of entries) {
      for (const address of workload.addresses) {
        if (!contains(block.prefix, address) || ours.has(address)) continue;
        say(
          address,
          objectOf(workload),
          `node ${block.node}, whose block ${block.prefix} it is of`,
          workload,
        );
      }
    }
  }
  return found;
}

function loans(facts: AuditFacts): Found[] {
  const { entries, held, blocks, node, ranges } = facts;
  if (blocks === undefined) return [];
  const found: Found[] = [];
  const say = (
    code: "loan-unknown" | "loan-not-held" | "loan-unused",
    address: IpAddress,
    object: string,
    message: string,
    remedy: string,
    since: number | undefined,
  ): void => {
    found.push({
      key: `${code} ${address}`,
      code,
      object,
      addresses: [address],
      message,
      remedy,
      origin: {
        node,
        pod: undefined,
        podUid: undefined,
        containerId: undefined,
        interface: undefined,
        since,
      },
      needsPerson: false,
      settle: 2 * WRITTEN_MS,
      left: undefined,
    });
  };
  const own = new Map(blocks.filter((b) => b.node === node).map((b) => [b.prefix, b]));
  for (const h of held) {
    const block = own.get(h.block);
    if (h.loan === undefined || block === undefined || block.loans.some((l) => l.id === h.loan)) continue;
    say(
      "loan-unknown",
      h.address,
      `IPBlock ${block.name}`,
      `${h.address} is held for node ${h.node}, and the block has no such loan any more`,
      "The agent frees it when it looks at its blocks the next time.",
      h.since,
    );
  }
  for (const block of own.values()) {
    for (const loan of block.loans) {
      if (loan.address === undefined || held.some((h) => h.loan === loan.id)) continue;
      say(
        "loan-not-held",
        loan.address,
        `IPBlock ${block.name}`,
        `${loan.address} is on loan to node ${loan.node}, and this node does not hold it for that`,
        `See that it is used once: weft ipam show ${loan.address}`,
        undefined,
      );
    }
  }
  const used = new Set(entries.flatMap((e) => e.workload.addresses));
  for (const range of ranges ?? []) {
    if (range.lentFrom === undefined) continue;
    const address = range.prefix.split("/")[0] as IpAddress;
    const loan = blocks
      .find((b) => b.prefix === range.lentFrom)
      ?.loans.find((l) => l.node === node && l.address === address);
    if (used.has(address) || loan?.tunnel === true) continue;
    say(
      "loan-unused",
      address,
      `IPBlock ${blockName(range.lentFrom)}`,
      `${address} is borrowed, and no pod of this node has it`,
      "The agent gives it back when it looks at its blocks the next time.",
      undefined,
    );
  }
  return found;
}

/** Only of blocks whose allocations are known here. */
function mirror(facts: AuditFacts): Found[] {
  const { entries, held, blocks, node } = facts;
  const holders = new Map<string, string | undefined>([
    ...entries.flatMap(({ workload: w }) =>
      w.addresses.map(
        (a) => [a, w.podName === undefined ? undefined : `${w.podNamespace}/${w.podName}`] as const,
      ),
    ),
    ...held.map((h) => [h.address, h.pod] as const),
  ]);
  return (blocks ?? []).flatMap((block) => {
    if (block.node !== node || block.reported === undefined) return [];
    const listed = new Set(block.allocations.map((a) => a.address));
    const extra = block.allocations.filter((a) => !holders.has(a.address)).map((a) => a.address);
    const lacking = [...holders.keys()].filter(
      (a) => contains(block.prefix, a) && !listed.has(a as IpAddress),
    ) as IpAddress[];
    if (extra.length + lacking.length === 0) return [];
    const origin: AddressOrigin = {
      node,
      pod: undefined,
      podUid: undefined,
      containerId: undefined,
      interface: undefined,
      since: block.reported,
    };
    const parts = [
      ...(extra.length === 0 ? [] : [`names ${extra.join(", ")}, which nobody has`]),
      ...(lacking.length === 0 ? [] : [`lacks ${lacking.join(", ")}, which somebody has`]),
    ];
    return [
      {
        key: `mirror-differs ${block.name}`,
        code: "mirror-differs" as const,
        object: `IPBlock ${block.name}`,
        addresses: [...extra, ...lacking],
        message: `its status ${parts.join(" and ")}`,
        remedy: "The agent writes it anew. If this stays: has the agent the right to update ipblocks/status?",
        origin,
        needsPerson: false,
        settle: 2 * WRITTEN_MS,
        left: undefined,
      },
    ];
  });
}
