/**
 * Connection tracking of one network namespace. Flows are found by dumps that the kernel narrows (query.ts), held
 * against the filters here (filter.ts), and removed one by one, by tuple and id, many in one system call:
 *
 *     filters -> queriesOf -> IPCTNL_MSG_CT_GET (dump) -> matches? -> IPCTNL_MSG_CT_DELETE -> dump again until none
 *
 * Dumps run on other threads; of removals, a few hundred are done in a row.
 */
import { describeError, isUnsupported, WeftError } from "@weft/base";
import { NETLINK, NetlinkSocket, NetlinkWriter } from "../netlink/index.ts";
import type { Conntrack, Flow, FlowFilter, NetworkNamespace } from "../port.ts";
import { hasErrno, type SysError } from "../sys/errno.ts";
import { checkFilter, describeFilter, FilterIndex, matches } from "./filter.ts";
import { describeFlow, readFlow, writeRemoval } from "./flow.ts";
import { dumpRequest, type Narrowing, probeRequest, queriesOf } from "./query.ts";

export interface ConntrackOptions {
  /** What of filters this kernel applies by itself. Default: found out at the first call. */
  readonly narrowing?: Narrowing;
}

/** Conntrack with a socket to give back. */
export interface ConntrackHandle extends Conntrack {
  close(): void;
}

/** Removals in one system call: each may be answered by an error, and the answers must fit into the receive queue. */
const BATCH = 500;
/** Packets under way while a frontend changed can still make an entry of old. */
const PASSES = 4;

/** Connection tracking of the namespace, whose descriptor must stay open. The first call opens a socket in it. */
export function createConntrack(
  namespace: Pick<NetworkNamespace, "fd">,
  options: ConntrackOptions = {},
): ConntrackHandle {
  return new KernelConntrack(namespace.fd, options);
}

/** A kernel refuses filters that it does not know, and everything while it has no netlink interface to its flows. */
export function dumpError(error: unknown): unknown {
  if (!hasErrno(error, "EINVAL") && !isUnsupported(error)) return error;
  return new WeftError("unsupported", `this kernel does not tell of its flows: ${describeError(error)}`, {
    hint: "Load its module nf_conntrack_netlink (CONFIG_NF_CT_NETLINK); Weft needs Linux 5.13 or later.",
    cause: error,
  });
}

class KernelConntrack implements ConntrackHandle {
  readonly #fd: number;
  #narrowing: Narrowing | undefined;
  #socket: NetlinkSocket | undefined;
  #closed = false;
  /** A socket takes one dump at a time: calls wait for those before them. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(fd: number, options: ConntrackOptions) {
    this.#fd = fd;
    this.#narrowing = options.narrowing;
  }

  close(): void {
    this.#closed = true;
    this.#drop();
  }

  async list(filter: FlowFilter): Promise<Flow[]> {
    checkFilter(filter, false);
    const flows = await this.#inTurn(() => this.#find([filter]));
    return flows.filter((flow) => matches(filter, flow));
  }

  async count(filters: readonly FlowFilter[]): Promise<number[]> {
    for (const filter of filters) checkFilter(filter, false);
    const counts = filters.map(() => 0);
    const index = new FilterIndex(filters);
    for (const flow of await this.#inTurn(() => this.#find(filters)))
      for (const position of index.matching(flow)) counts[position] = (counts[position] ?? 0) + 1;
    return counts;
  }

  async flush(filters: readonly FlowFilter[]): Promise<number[]> {
    for (const filter of filters) checkFilter(filter, true);
    const index = new FilterIndex(filters);
    const counts = filters.map(() => 0);
    await this.#inTurn(async () => {
      for (let pass = 0; pass < PASSES; pass++) {
        const flows = await this.#find(filters);
        if (flows.length === 0) return;
        await this.#remove(flows, (flow) => {
          const position = index.first(flow);
          if (position !== undefined) counts[position] = (counts[position] ?? 0) + 1;
        });
      }
    });
    return counts;
  }

  async remove(flows: readonly Flow[]): Promise<number> {
    let removed = 0;
    await this.#inTurn(() => this.#remove(flows, () => removed++));
    return removed;
  }

  /** Flows that at least one of the filters matches, each once. */
  async #find(filters: readonly FlowFilter[]): Promise<Flow[]> {
    const index = new FilterIndex(filters);
    const found = new Map<string, Flow>();
    for (const query of queriesOf(filters)) {
      const request = dumpRequest(query, await this.#narrow());
      await this.#dump(request, describeFilter(query), (flow) => {
        if (index.first(flow) !== undefined) found.set(`${flow.id} ${describeFlow(flow)}`, flow);
      });
    }
    return [...found.values()];
  }

  async #narrow(): Promise<Narrowing> {
    if (this.#narrowing === undefined) {
      try {
        await this.#dump(probeRequest(), "what this kernel filters by", () => {});
        this.#narrowing = { original: true, reply: true };
      } catch (error) {
        // Whether it was the question or the module that is missing, the next dump tells.
        if (!isUnsupported(error)) throw error;
        this.#narrowing = { original: true, reply: false };
      }
    }
    return this.#narrowing;
  }

  async #dump(request: Uint8Array, object: string, each: (flow: Flow) => void): Promise<void> {
    try {
      await this.#open().dumpAsync(request, { call: "IPCTNL_MSG_CT_GET", object }, (message) => {
        const flow = readFlow(message);
        if (flow !== undefined) each(flow);
      });
    } catch (error) {
      // The rest of a dump that was given up would meet the next request.
      this.#drop();
      throw dumpError(error);
    }
  }

  /** Removes the flows; what has gone by itself, or was replaced, is none of them. Throws "busy", after all others. */
  async #remove(flows: readonly Flow[], removed: (flow: Flow) => void): Promise<void> {
    let refused: { flow: Flow; error: SysError } | undefined;
    for (let at = 0; at < flows.length; at += BATCH) {
      if (at > 0) await new Promise((resolve) => setImmediate(resolve));
      const some = flows.slice(at, at + BATCH);
      const writer = new NetlinkWriter(some.length * 128);
      for (const flow of some) writeRemoval(writer, flow);
      const { errors } = this.#open().batch(writer.finish(), { call: "IPCTNL_MSG_CT_DELETE" });
      some.forEach((flow, i) => {
        const error = errors.get(i);
        if (error === undefined) removed(flow);
        else if (!hasErrno(error, "ENOENT")) refused = { flow, error };
      });
    }
    if (refused !== undefined) {
      const { flow, error } = refused;
      throw new WeftError(error.code, `${error.message} (${describeFlow(flow)})`, {
        object: describeFlow(flow),
        cause: error,
      });
    }
  }

  #open(): NetlinkSocket {
    if (this.#closed) throw new WeftError("invalid", "the handle on connection tracking is closed");
    this.#socket ??= new NetlinkSocket(NETLINK.netfilter, { namespace: this.#fd });
    return this.#socket;
  }

  #drop(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => {});
    return result;
  }
}
