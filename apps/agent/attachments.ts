/**
 * ADD, DEL, CHECK and GC. An ADD is a transaction over the ledger and the kernel:
 *
 *   lock container/interface -> host ports are nobody's -> open namespace -> lease addresses (durable, "allocating"),
 *     which may take a claim or a loan where there are pools (pools/)
 *     -> rows into the plan
 *     -> applied, now and ahead of everything -> kernel read back -> durable "ready" -> answer
 *
 * Whatever fails on the way, or a client that goes away, takes all of it back in reverse. A crash in between
 * leaves "allocating" or "releasing" in the ledger, and the next start takes that back (recover).
 */
import { createHash } from "node:crypto";
import { deletePair, gatewayOf, type Plan } from "@weft/apply";
import {
  describeError,
  familyOf,
  hintOf,
  isExists,
  isNotFound,
  isUnsupported,
  type Logger,
  macFromSeed,
  parseIp,
  parsePrefix,
  prefixIp,
  WeftError,
  withLength,
} from "@weft/base";
import { CniError, OWN_CODE } from "@weft/cni";
import { GATEWAY_MAC, unreachableHostPorts } from "@weft/compile";
import type { Ledger, LedgerEntry } from "@weft/ipam";
import { type Kernel, LINK_PREFIX, type NetworkNamespace } from "@weft/kernel/port";
import type { Drift, LeakCode, NodeContext, Problem, Workload } from "@weft/model";
import type { AttachmentRequest, AttachmentResult, GcRequest } from "@weft/plugin-weft";
import type { Orphans } from "./audit/orphans.ts";
import { WHY } from "./audit/words.ts";
import { type Holder, holderOf, hostPortTaken, hostPortTexts, staleFlows } from "./host-ports.ts";
import { KeyedLock } from "./keyed-lock.ts";
import type { PodPlan } from "./pod-plan.ts";
import type { Pools } from "./pools/pools.ts";
import type { AddRequest } from "./requests.ts";
import { step } from "./steps.ts";

export interface AttachmentsOptions {
  readonly kernel: Kernel;
  readonly ledger: Ledger;
  readonly plan: Plan;
  readonly pods: PodPlan;
  readonly orphans: Orphans;
  readonly pools: Pools;
  /** Hears of attachments whose addresses are free again though nobody sent DEL. */
  readonly onReclaimed?: (workload: Workload, code: LeakCode) => void;
  readonly logger: Logger;
  /** What keeps the node's plan from being up to date, if something does. */
  readonly lost: () => Problem | undefined;
  /** Milliseconds that an ADD may take once the agent is ready. */
  readonly deadline: number;
}

/**
 * How long an ADD waits for somebody else's host port. A pod that takes another's place is started while the other one is
 * being stopped, where somebody deleted that by force: without a wait each of its starts would fail until the old one is gone.
 */
const HOLDER_PATIENCE_MS = 5_000;
const HOLDER_POLL_MS = 100;

export const workloadId = (r: { containerId: string; interface: string }): string =>
  `${r.containerId}/${r.interface}`;

/** Name of the node's end: our prefix and eleven digits of a digest, 15 characters, the most a link can have. */
export const hostLinkOf = (network: string, id: string): string =>
  `${LINK_PREFIX}${createHash("sha256").update(`${network} ${id}`).digest("hex").slice(0, 11)}`;

export class Attachments {
  readonly #o: AttachmentsOptions;
  readonly #locks = new KeyedLock();
  readonly #stuck = new Map<string, { readonly why: string; readonly error: string }>();

  constructor(options: AttachmentsOptions) {
    this.#o = options;
  }

  async add(request: AddRequest, signal: AbortSignal): Promise<AttachmentResult> {
    return this.#locks.run(workloadId(request), () => this.#add(request, signal));
  }

  /** Succeeds when there is nothing to delete, or only an interface of that name of another network. */
  async del(request: Pick<AttachmentRequest, "network" | "containerId" | "interface">): Promise<void> {
    const id = workloadId(request);
    await this.#locks.run(id, async () => {
      if (this.#o.ledger.get(id)?.workload.network === request.network) await this.#del(id);
    });
  }

  async check(request: AttachmentRequest): Promise<void> {
    const id = workloadId(request);
    const rows = this.#o.pods.rows(id);
    if (rows.length === 0) {
      throw new CniError(OWN_CODE.checkFailed, `the agent knows no attachment ${id}`, {
        hint: "It was deleted, or made by another plugin: delete the container and make it anew.",
      });
    }
    const found = await this.#o.plan.drift("", rows);
    if (found.length > 0)
      throw new CniError(OWN_CODE.checkFailed, driftText(found), {
        hint: "The agent repairs it within seconds.",
      });
  }

  /** Releases every attachment of the network that the runtime does not list. */
  async gc(request: GcRequest): Promise<void> {
    const valid = new Set(
      request.validAttachments.map((a) =>
        workloadId({ containerId: a.containerId, interface: a.interfaceName }),
      ),
    );
    const errors: unknown[] = [];
    for (const { workload } of this.#o.ledger.workloads()) {
      // What somebody works on at this moment is none that was forgotten.
      if (workload.network !== request.network || valid.has(workload.id)) continue;
      if (this.#locks.busy(workload.id)) continue;
      this.#o.logger.info("collected: the runtime does not list it any more", { workload: workload.id });
      const why = "the runtime did not list it any more (GC)";
      await this.#locks.run(workload.id, () => this.#del(workload.id, why)).catch((e) => errors.push(e));
    }
    if (errors.length > 0) throw errors[0];
  }

  /**
   * Releases what an ADD or DEL left half done, workloads whose namespace is gone, and those that were orphaned.
   * Returns how many.
   */
  async collect(): Promise<number> {
    let collected = 0;
    const entries = this.#o.ledger.workloads();
    const orphans = this.#o.orphans.among(entries.flatMap((e) => (e.state === "ready" ? e.workload : [])));
    const ids = new Set(entries.map((e) => e.workload.id));
    for (const id of this.#stuck.keys()) if (!ids.has(id)) this.#stuck.delete(id);
    for (const entry of entries) {
      const { id } = entry.workload;
      const code = this.#whyLeftOver(entry) ?? orphans.get(id);
      if (code === undefined || this.#locks.busy(id)) continue;
      try {
        if (await this.reclaim(id, code)) collected++;
      } catch (error) {
        this.#stuck.set(id, { why: WHY[code], error: describeError(error) });
        this.#o.logger.warn("cannot release yet", { workload: id, error: describeError(error) });
      }
    }
    return collected;
  }

  /** Takes an attachment away that nobody sends a DEL for; false when it is gone already. */
  async reclaim(id: string, code: LeakCode): Promise<boolean> {
    const { ledger, onReclaimed } = this.#o;
    return this.#locks.run(id, async () => {
      const entry = ledger.get(id);
      if (entry === undefined) return false;
      await this.#del(id, WHY[code]);
      this.#stuck.delete(id);
      onReclaimed?.(entry.workload, code);
      return true;
    });
  }

  /** Whether somebody works on it, or waits for it, at this moment. */
  busy(id: string): boolean {
    return this.#locks.busy(id);
  }

  /** Those that should have gone, by id, and what was in the way the last time. */
  get stuck(): ReadonlyMap<string, { readonly why: string; readonly error: string }> {
    return this.#stuck;
  }

  /** Undefined when it is whole, or when somebody may be working on it. */
  #whyLeftOver({ workload, state }: LedgerEntry): LeakCode | undefined {
    if (state !== "ready") return "half-done";
    return this.namespaceStands(workload) ? undefined : "namespace-gone";
  }

  /** Whether its network namespace is there, and is the one that it was made in. */
  namespaceStands(w: Workload): boolean {
    try {
      const ns = this.#o.kernel.open(w.namespacePath);
      ns.close();
      return ns.identity === w.namespaceIdentity;
    } catch (error) {
      // Only absence is a reason to take a container's network away: not, say, a lack of descriptors.
      return !isNotFound(error);
    }
  }

  async #add(request: AddRequest, signal: AbortSignal): Promise<AttachmentResult> {
    const { ledger, pods, pools } = this.#o;
    step("add:received");
    const id = workloadId(request);
    if (ledger.get(id) !== undefined) {
      throw new CniError(OWN_CODE.conflictingAttachment, `container ${id} is attached already`, {
        hint: "Send DEL before a second ADD.",
      });
    }
    await pools.refuseWishes(request, signal);
    const until = performance.now() + HOLDER_PATIENCE_MS;
    // From here to the lease nothing else runs: whoever comes next finds these ports held.
    for (;;) {
      refuseIfGone(signal);
      const holder = this.#holder(request);
      if (holder === undefined) break;
      await this.#waitFor(holder, request, until);
    }
    const context = pods.context;
    if (context === undefined)
      throw new CniError(OWN_CODE.nodeNotReady, "the node's network is not known yet");
    const identity = this.#inspect(request);
    step("add:namespace-opened");
    const workload = await this.#lease(request, context, identity, signal);
    try {
      step("add:address-allocated");
      if (pools.enabled) await pools.settled(workload);
      await this.#apply(workload, signal);
      await hearClient();
      refuseIfGone(signal);
      ledger.markReady(id);
      step("add:recorded");
    } catch (error) {
      await this.#undo(id);
      throw error;
    }
    const unreachable = unreachableHostPorts(workload);
    if (unreachable.length > 0) {
      this.#o.logger.warn("host ports lead nowhere: the pod has no address of their family", {
        workload: id,
        ports: hostPortTexts(unreachable),
      });
    }
    return resultOf(workload, context.podMtu);
  }

  /** Addresses for it, durable, "allocating". In a cluster without pools nothing else runs meanwhile. */
  async #lease(
    request: AddRequest,
    context: NodeContext,
    namespaceIdentity: string,
    signal: AbortSignal,
  ): Promise<Workload> {
    const { ledger, pools } = this.#o;
    const id = workloadId(request);
    const wanted = {
      id,
      network: request.network,
      containerId: request.containerId,
      interface: request.interface,
      namespacePath: request.namespacePath ?? "",
      namespaceIdentity,
      podNamespace: request.podNamespace,
      podName: request.podName,
      podUid: request.podUid,
      hostPorts: request.hostPorts,
      mac: macFromSeed(`pod ${context.node} ${id}`),
      hostLink: hostLinkOf(request.network, id),
    };
    if (!pools.enabled) {
      const plain = context.blocks.filter((b) => b.pool === undefined);
      return ledger.allocate(
        wanted,
        plain.map((b) => b.prefix),
        context.reserved,
      );
    }
    // Others have run since they were found to be nobody's.
    const before = (): void => {
      const holder = this.#holder(request);
      if (holder !== undefined) throw hostPortTaken(holder);
    };
    return pools.lease({ request: wanted, pod: request, before }, signal);
  }

  /** Who has a port that is asked for. Most ask for none: the ledger is not read for them. */
  #holder({ hostPorts }: AddRequest): Holder | undefined {
    return hostPorts.length === 0 ? undefined : holderOf(hostPorts, this.#o.ledger.workloads());
  }

  /** Releases the holder of a port if that is left over; else waits a little, or throws when the time is up. */
  async #waitFor(holder: Holder, request: AddRequest, until: number): Promise<void> {
    const { workload } = holder.entry;
    const { id } = workload;
    const why = this.#locks.busy(id) ? undefined : this.#whyLeftOver(holder.entry);
    if (why !== undefined) {
      try {
        await this.reclaim(id, why);
        return;
      } catch (error) {
        this.#o.logger.warn("cannot release yet", { workload: id, error: describeError(error) });
      }
    }
    // The pod's own sandbox before this one: the runtime has lost it, if nothing lives in there.
    if (request.podUid !== undefined && request.podUid === workload.podUid) this.#o.orphans.supersede(id);
    if (performance.now() >= until) throw hostPortTaken(holder);
    await new Promise((resolve) => setTimeout(resolve, HOLDER_POLL_MS));
  }

  async #apply(workload: Workload, signal: AbortSignal): Promise<void> {
    const { plan, pods } = this.#o;
    pods.set([workload]);
    step("add:planned");
    const rows = pods.rows(workload.id);
    await this.#withDeadline(plan.applier.flush(plan.keys(rows)), signal).catch((error: unknown) => {
      throw this.#refusal(error);
    });
    step("add:applied");
    const drift = await plan.drift("", rows);
    if (drift.length > 0) {
      throw new CniError(
        OWN_CODE.kernelRefused,
        `the kernel holds not what was asked for: ${driftText(drift)}`,
        {
          hint: "Something else changed it in the same moment; see `weft status`.",
        },
      );
    }
    step("add:read-back");
    await this.#forgetFlows(workload, "came");
  }

  /** After the kernel has the change: before, a packet would make the same flow again. Never throws. */
  async #forgetFlows(workload: Workload, event: "came" | "went"): Promise<void> {
    const { kernel, logger } = this.#o;
    try {
      const own = kernel.self.addresses().map(({ address }) => prefixIp(address));
      const filters = staleFlows(workload, own, event);
      if (filters.length > 0) await kernel.conntrack.flush(filters);
    } catch (error) {
      logger.warn("stale flows of host ports stay until they time out", {
        workload: workload.id,
        error: describeError(error),
      });
    }
  }

  /** What the kernel says to a row, in the plugin's terms: "invalid" there is no fault of the configuration. */
  #refusal(error: unknown): unknown {
    if (error instanceof CniError || isExists(error) || isUnsupported(error)) return error;
    const lost = this.#o.lost();
    if (lost !== undefined) {
      return new CniError(OWN_CODE.nodeNotReady, `the node is not ready: ${lost.message}`, {
        hint: lost.hint,
        cause: error,
      });
    }
    return new CniError(OWN_CODE.kernelRefused, describeError(error), {
      hint: hintOf(error) ?? "See `weft status` and the agent's log.",
      cause: error,
    });
  }

  /** Never throws: what cannot be taken back now stays in the ledger and is tried again by collect(). */
  async #undo(id: string): Promise<void> {
    try {
      await this.#del(id, "its ADD did not succeed");
    } catch (error) {
      this.#o.logger.warn("cannot take an ADD back yet", { workload: id, error: describeError(error) });
    }
  }

  /** `why`, in words, when it was not the runtime that asked for it. */
  async #del(id: string, why?: string): Promise<void> {
    const { kernel, ledger, plan, pods } = this.#o;
    const entry = ledger.get(id);
    if (entry === undefined) return;
    step("del:received");
    ledger.beginRelease(id);
    step("del:marked");
    const rows = pods.remove(id);
    step("del:planned");
    if (rows.length > 0) await plan.applier.flush(plan.keys(rows));
    // Without a context there are no rows; the link is ours all the same, and takes the rest with it.
    else await deletePair(kernel.self, entry.workload.hostLink);
    step("del:applied");
    await this.#forgetFlows(entry.workload, "went");
    ledger.release(id, why);
    this.#o.pools.changed();
    step("del:released");
  }

  /** The namespace must be there, not be the node's own, and not have such an interface. Returns its identity. */
  #inspect(request: AttachmentRequest): string {
    const path = request.namespacePath;
    let inside: NetworkNamespace;
    try {
      if (path === undefined) throw new WeftError("not-found", "CNI_NETNS is empty");
      inside = this.#o.kernel.open(path);
    } catch (error) {
      throw new CniError(
        OWN_CODE.namespaceNotFound,
        `there is no network namespace ${path}: ${describeError(error)}`,
        {
          hint: "The container is gone, or the runtime named a path that this node's agent does not see.",
          cause: error,
        },
      );
    }
    try {
      if (inside.identity === this.#o.kernel.self.identity) {
        throw new CniError(OWN_CODE.namespaceNotFound, `${path} is the node's own network namespace`, {
          hint: "A pod with hostNetwork needs no CNI.",
        });
      }
      if (inside.link(request.interface) !== undefined) {
        throw new CniError(
          OWN_CODE.interfaceNameTaken,
          `the container already has an interface ${request.interface}`,
          {
            hint: "Another plugin made it, or the runtime uses one name for two networks: set CNI_IFNAME to another.",
          },
        );
      }
      return inside.identity;
    } finally {
      inside.close();
    }
  }

  async #withDeadline(work: Promise<void>, signal: AbortSignal): Promise<void> {
    const { promise, reject } = Promise.withResolvers<never>();
    const late = (): void =>
      reject(
        new CniError(OWN_CODE.deadlineExceeded, `not done within ${this.#o.deadline / 1000} s`, {
          hint: "See the agent's log.",
        }),
      );
    const timer = setTimeout(late, this.#o.deadline);
    const gone = (): void => reject(new CniError(OWN_CODE.deadlineExceeded, "the client went away"));
    signal.addEventListener("abort", gone);
    try {
      await Promise.race([work, promise]);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", gone);
      work.catch(() => {});
    }
  }
}

/** That the client went away is heard only in the event loop; an immediate's turn comes before it, the next one's after. */
async function hearClient(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
}

function refuseIfGone(signal: AbortSignal): void {
  if (signal.aborted) throw new CniError(OWN_CODE.deadlineExceeded, "the client went away");
}

const driftText = (found: readonly Drift[]): string =>
  found.map((d) => `${d.kind} ${d.key}: ${d.difference}`).join("; ");

function resultOf(w: Workload, mtu: number): AttachmentResult {
  return {
    interfaces: [
      { name: w.hostLink, mac: GATEWAY_MAC },
      { name: w.interface, mac: w.mac, mtu, sandbox: w.namespacePath },
    ],
    ips: w.addresses.map((ip) => ({
      address: withLength(ip, familyOf(ip) === 4 ? 32 : 128),
      gateway: gatewayOf(ip),
      interface: 1,
    })),
    routes: w.addresses.map((ip) => ({
      dst: parsePrefix(familyOf(ip) === 4 ? "0.0.0.0/0" : "::/0"),
      gw: parseIp(gatewayOf(ip)),
    })),
  };
}
