/** An API server's blocks and pools in memory, for tests: versions, uids and conditions as a server has them. */
import { type IpAddress, WeftError } from "@weft/base";
import { blockName, type IpBlock, type IpPool } from "@weft/model";
import type { BlockReport, BlockVersion, NewBlock, PoolApi } from "./port.ts";

export type FakeCall = "pool" | "block" | "create" | "replace" | "remove" | "writeStatus";
/** "before": the call fails and does nothing; "after": it is done, and its answer is lost. */
export type FakeFault = "before" | "after" | undefined;

export class FakePoolApi implements PoolApi {
  readonly pools = new Map<string, IpPool>();
  readonly blocks = new Map<string, IpBlock>();
  readonly calls: string[] = [];
  /** Asked before each call. */
  fault: (call: FakeCall, name: string) => FakeFault = () => undefined;
  /** Told after each change. */
  changed: () => void = () => {};
  #version = 100;

  async pool(name: string, signal: AbortSignal): Promise<IpPool | undefined> {
    return this.#call("pool", name, signal, () => this.pools.get(name));
  }

  async block(name: string, signal: AbortSignal): Promise<IpBlock | undefined> {
    return this.#call("block", name, signal, () => this.blocks.get(name));
  }

  async create(block: NewBlock, signal: AbortSignal): Promise<IpBlock> {
    const name = blockName(block.prefix);
    return this.#call("create", name, signal, () => {
      if (this.blocks.has(name)) throw new WeftError("exists", `ipblock ${name} is there already`);
      return this.#put({
        ...block,
        name,
        uid: `uid-${this.#version}`,
        allocations: [],
        reported: undefined,
        origin: { kind: "IPBlock", name },
        resourceVersion: "",
      });
    });
  }

  async replace(block: IpBlock, signal: AbortSignal): Promise<IpBlock> {
    return this.#call("replace", block.name, signal, () => {
      const { node, tunnelAddress, loans } = block;
      return this.#put({ ...this.#held(block), node, tunnelAddress, loans });
    });
  }

  async remove(block: BlockVersion, signal: AbortSignal): Promise<void> {
    return this.#call("remove", block.name, signal, () => {
      if (!this.blocks.has(block.name)) return;
      this.#held(block);
      this.blocks.delete(block.name);
      this.#version++;
      this.changed();
    });
  }

  async writeStatus(block: IpBlock, report: BlockReport, signal: AbortSignal): Promise<IpBlock> {
    return this.#call("writeStatus", block.name, signal, () => {
      const { allocations, reported } = report;
      return this.#put({ ...this.#held(block), allocations, reported });
    });
  }

  /** Addresses that each node's objects say it may use: for observers. */
  lentTo(node: string): IpAddress[] {
    return [...this.blocks.values()].flatMap((b) =>
      b.loans.flatMap((l) => (l.node === node && l.address !== undefined && !l.returned ? [l.address] : [])),
    );
  }

  #held({ name, uid, resourceVersion }: BlockVersion): IpBlock {
    const held = this.blocks.get(name);
    if (held === undefined) throw new WeftError("not-found", `ipblock ${name} is not there`);
    if (held.uid !== uid || held.resourceVersion !== resourceVersion) {
      throw new WeftError("conflict", `ipblock ${name} has changed`);
    }
    return held;
  }

  #put(block: IpBlock): IpBlock {
    const put = structuredClone({ ...block, resourceVersion: String(++this.#version) });
    this.blocks.set(put.name, put);
    this.changed();
    return put;
  }

  async #call<T>(call: FakeCall, name: string, signal: AbortSignal, work: () => T): Promise<T> {
    await Promise.resolve();
    signal.throwIfAborted();
    this.calls.push(`${call} ${name}`);
    const fault = this.fault(call, name);
    if (fault === "before") throw new WeftError("unavailable", "connection refused");
    const done = work();
    await Promise.resolve();
    if (fault === "after") throw new WeftError("unavailable", "connection reset");
    return structuredClone(done);
  }
}
