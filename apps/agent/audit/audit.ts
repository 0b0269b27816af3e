/**
 * The audit of a node's addresses, all the time:
 *
 *   Attachments.collect, every 3 s --- reclaimed ---+
 *   reconcilers, leftovers ----------- pruning -----+--> events, log, counters, status
 *   a round every 10 s: facts -> compare -> Tracker +
 *
 * It only looks, and tells. What is taken back goes by the way of a DEL (Attachments), what is put right by the reconcilers.
 *
 * A round never keeps an ADD waiting: it reads in slices of some milliseconds, between which the event loop goes on, and of
 * the pods' own namespaces, which cost most, only some a round (README, "What it costs").
 */
import { type Clock, contains, describeError, type IpAddress, type Logger, type Prefix } from "@weft/base";
import type { EventInput } from "@weft/cluster/client";
import type { Ledger } from "@weft/ipam";
import { type Kernel, LINK_PREFIX, ROUTE_PROTOCOL } from "@weft/kernel/port";
import type {
  AuditFinding,
  AuditStatus,
  IpBlock,
  LeakCode,
  NodeContext,
  PlanKind,
  RangeUse,
  Reclaimed,
  Workload,
} from "@weft/model";
import { type AuditFacts, compare, type OwnRange } from "./compare.ts";
import type { Orphans } from "./orphans.ts";
import { RangeUses } from "./report.ts";
import { Tracker } from "./tracker.ts";
import {
  findingEvents,
  findingText,
  formerText,
  leftoverEvent,
  originOfWorkload,
  reclaimedEvents,
  reclaimedNote,
  WHY,
} from "./words.ts";

export interface AuditOptions {
  readonly node: string;
  readonly kernel: Kernel;
  readonly ledger: Ledger;
  readonly orphans: Orphans;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Seconds, of the settings. */
  readonly leakGrace: () => number;
  readonly context: () => NodeContext | undefined;
  readonly paused: () => boolean;
  /** Whether somebody works on that attachment at this moment. */
  readonly busy: (id: string) => boolean;
  /** Attachments that should have gone, with what was in the way. */
  readonly stuck: () => AuditFacts["stuck"];
  /** IPBlocks of this node and with loans to it; undefined while the API is away, or there are no pools. */
  readonly blocks: () => readonly IpBlock[] | undefined;
  /** Has pods' links compared with what attachments explain: new ones that nobody asked for cause no repair by themselves. */
  readonly repairLinks: () => void;
  /** To the API, if there is one. */
  readonly record: (event: EventInput) => void;
}

const ROUND_MS = 10_000;
/** Pods that are looked into in one round, and in one slice of it. */
const INSIDE_PER_ROUND = 25;
const INSIDE_PER_SLICE = 5;
const RECENT = 50;

const POD_LINK = new RegExp(`^${LINK_PREFIX}[0-9a-f]{11}$`);

export class Audit {
  readonly #o: AuditOptions;
  readonly #tracker: Tracker;
  readonly #uses: RangeUses;
  readonly #inside = new Map<string, readonly IpAddress[]>();
  readonly #reclaimed = new Map<LeakCode, number>();
  #recent: Reclaimed[] = [];
  #findings: readonly AuditFinding[] = [];
  #lastRun: number | undefined;
  #lastCost = 0;
  #longestSlice = 0;
  #rounds = 0;
  #leftovers = 0;
  #error: string | undefined;
  /** Where the next round goes on looking into pods. */
  #next = 0;
  #cancel: (() => void) | undefined;
  #stopped = false;

  constructor(options: AuditOptions) {
    this.#o = options;
    this.#tracker = new Tracker(options.clock);
    this.#uses = new RangeUses(options.ledger, options.clock);
  }

  start(): void {
    this.#cancel = this.#o.clock.setTimeout(() => {
      void this.round().finally(() => {
        if (!this.#stopped) this.start();
      });
    }, ROUND_MS);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  /** Whatever fails is told in status, and tried again the next time. */
  async round(): Promise<void> {
    try {
      const facts = await this.#look();
      if (this.#stopped) return;
      const { all, fresh } = this.#timed(() => {
        this.#uses.sample(facts.ranges ?? []);
        return this.#tracker.take(compare(facts));
      });
      this.#findings = all;
      for (const finding of fresh) this.#tell(finding);
      if (!facts.paused && fresh.some((f) => f.code === "link-unexplained")) this.#o.repairLinks();
      this.#error = undefined;
    } catch (error) {
      const text = describeError(error);
      if (text !== this.#error) this.#o.logger.warn("the audit of addresses cannot look", { error: text });
      this.#error = text;
    }
    this.#rounds++;
    this.#lastRun = this.#o.clock.now();
  }

  /** Attachments calls it once the addresses are free. */
  reclaimed(workload: Workload, code: LeakCode): void {
    const { node, clock, logger, record } = this.#o;
    const reclaimed: Reclaimed = {
      code,
      addresses: workload.addresses,
      origin: originOfWorkload(workload, node),
      why: WHY[code],
      at: clock.now(),
    };
    this.#reclaimed.set(code, (this.#reclaimed.get(code) ?? 0) + 1);
    this.#recent = [reclaimed, ...this.#recent].slice(0, RECENT);
    logger.info("addresses are reclaimed", { workload: workload.id, note: reclaimedNote(reclaimed) });
    for (const event of reclaimedEvents(reclaimed)) record(event);
  }

  /** A reconciler is about to remove what nobody asked for. Links of half-made attachments are told of as these. */
  pruning(kind: PlanKind, key: string): void {
    const note =
      kind === "attachment" ? this.#strayLink(key) : kind === "route" ? this.#strayRoute(key) : undefined;
    if (note === undefined) return;
    this.#leftovers++;
    this.#o.logger.info("a leftover is removed", { kind, key, note });
    this.#o.record(leftoverEvent(this.#o.node, note));
  }

  #strayLink(key: string): string | undefined {
    const link = key.replace(/^link /, "");
    const { ledger, node } = this.#o;
    if (link === key || ledger.workloads().some((e) => e.workload.hostLink === link)) return undefined;
    const addresses = this.#routedTo(link);
    const former = ledger.formerOfLink(link);
    return (
      `link ${link}, which no attachment explains, is removed from node ${node}` +
      (addresses.length === 0 ? "" : `, with its routes to ${addresses.join(", ")}`) +
      (former === undefined ? "" : `; it was that of ${formerText(former, node)}`)
    );
  }

  /** Of a host route in a block of this node: all others are of peers that went. */
  #strayRoute(key: string): string | undefined {
    const { ledger, node } = this.#o;
    const destination = key.split(" ")[0] ?? "";
    const address = hostOf(destination);
    if (address === undefined || this.#ranges()?.some((r) => contains(r.prefix, address)) !== true)
      return undefined;
    if (ledger.workloads().some((e) => e.workload.addresses.includes(address))) return undefined;
    if (ledger.pools.held().some((h) => h.address === address)) return undefined;
    const former = ledger.former(address, 1)[0];
    return (
      `the route to ${address}, which nobody has, is removed from node ${node}` +
      (former === undefined ? "" : `; the address was that of ${formerText(former, node)}`)
    );
  }

  /** What is used of each of the node's ranges, and until when they last. */
  ranges(): RangeUse[] {
    return this.#uses.of(this.#ranges() ?? []);
  }

  status(): AuditStatus {
    return {
      lastRun: this.#lastRun,
      rounds: this.#rounds,
      lastCost: Math.round(this.#lastCost * 10) / 10,
      longestSlice: Math.round(this.#longestSlice * 10) / 10,
      leakGrace: this.#o.leakGrace(),
      error: this.#error,
      findings: this.#findings,
      reclaimed: Object.fromEntries(this.#reclaimed),
      leftovers: this.#leftovers,
      recent: this.#recent,
    };
  }

  #tell(finding: AuditFinding): void {
    const { logger, record, node } = this.#o;
    const level = finding.needsPerson ? "warn" : "info";
    logger.log(level, `audit: ${findingText(finding)}`, { code: finding.code, remedy: finding.remedy });
    if (finding.needsPerson) for (const event of findingEvents(finding, node)) record(event);
  }

  async #look(): Promise<AuditFacts> {
    this.#lastCost = 0;
    const { kernel, ledger, orphans, busy } = this.#o;
    await this.#lookInside();
    // From here to the end nothing else runs: the facts are of one moment.
    return this.#timed(() => {
      const entries = ledger.workloads();
      const ids = new Set(entries.map((e) => e.workload.id));
      for (const id of this.#inside.keys()) if (!ids.has(id)) this.#inside.delete(id);
      const explained = new Set(entries.map((e) => e.workload.hostLink));
      const links = new Set(
        kernel.self.links().flatMap((l) => (l.kind === "veth" && POD_LINK.test(l.name) ? l.name : [])),
      );
      const stray = [...links].filter((l) => !explained.has(l));
      return {
        node: this.#o.node,
        entries,
        busy: new Set(entries.flatMap((e) => (busy(e.workload.id) ? e.workload.id : []))),
        stuck: this.#o.stuck(),
        suspects: orphans.suspects(),
        links,
        strayRoutes: new Map(stray.map((l) => [l, this.#routedTo(l)])),
        inside: this.#inside,
        ranges: this.#ranges(),
        held: ledger.pools.held(),
        blocks: this.#o.blocks(),
        paused: this.#o.paused(),
      };
    });
  }

  /** Some pods a round, the next ones the next time; and those again about which something was found. */
  async #lookInside(): Promise<void> {
    const ready = this.#o.ledger.workloads().flatMap((e) => (e.state === "ready" ? e.workload : []));
    const suspicious = new Set(
      this.#findings.flatMap(({ code, key }) => (code.endsWith("-inside") ? key.split(" ")[1] : [])),
    );
    const turn = Array.from(
      { length: Math.min(INSIDE_PER_ROUND, ready.length) },
      (_, i) => ready[(this.#next + i) % ready.length] as Workload,
    );
    this.#next = ready.length === 0 ? 0 : (this.#next + turn.length) % ready.length;
    const chosen = [...new Set([...turn, ...ready.filter((w) => suspicious.has(w.id))])];
    for (let start = 0; start < chosen.length; start += INSIDE_PER_SLICE) {
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#stopped) return;
      this.#timed(() => {
        for (const w of chosen.slice(start, start + INSIDE_PER_SLICE)) this.#readInside(w);
      });
    }
  }

  #readInside(w: Workload): void {
    try {
      const inside = this.#o.kernel.open(w.namespacePath);
      try {
        if (inside.identity !== w.namespaceIdentity || inside.link(w.interface) === undefined) {
          this.#inside.delete(w.id);
          return;
        }
        const addresses = inside.addresses(w.interface).filter((a) => a.scope !== "link");
        this.#inside.set(
          w.id,
          addresses.map((a) => a.address.split("/")[0] as IpAddress),
        );
      } finally {
        inside.close();
      }
    } catch {
      // It is on its way out: Attachments.collect finds that by itself.
      this.#inside.delete(w.id);
    }
  }

  #routedTo(link: string): IpAddress[] {
    try {
      return this.#o.kernel.self
        .routes({ protocol: ROUTE_PROTOCOL, link })
        .flatMap((r) => hostOf(r.destination) ?? []);
    } catch {
      // The link went in the very moment.
      return [];
    }
  }

  #ranges(): OwnRange[] | undefined {
    const context = this.#o.context();
    if (context === undefined) return undefined;
    const pools = this.#o.ledger.pools.blocks();
    const known = new Set<Prefix>(pools.map((b) => b.prefix));
    return [
      ...context.blocks.flatMap(({ prefix, pool, lentFrom }): OwnRange[] =>
        known.has(prefix) ? [] : [{ prefix, pool, state: "open", lentFrom }],
      ),
      ...pools.map(({ prefix, pool, state, loan }) => ({ prefix, pool, state, lentFrom: loan?.lender })),
    ];
  }

  #timed<T>(work: () => T): T {
    const start = performance.now();
    try {
      return work();
    } finally {
      const took = performance.now() - start;
      this.#lastCost += took;
      this.#longestSlice = Math.max(this.#longestSlice, took);
    }
  }
}

/** The address of a prefix that is one. */
function hostOf(prefix: string): IpAddress | undefined {
  const [address = "", length] = prefix.split("/");
  return length === (address.includes(":") ? "128" : "32") ? (address as IpAddress) : undefined;
}
