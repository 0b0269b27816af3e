/** An address manager that forgets everything when the process ends: for tests and dry runs. */
import { type Clock, type IpAddress, type Prefix, systemClock } from "@weft/base";
import type { Workload } from "@weft/model";
import type {
  AddressManager,
  AddressRequest,
  BlockUsage,
  LedgerEntry,
  WorkloadState,
} from "./address-manager.ts";
import { isUsable, usableRange, usageOf } from "./block.ts";
import { type Choice, type Cursor, chooseAddresses, type Memory, REMEMBERED } from "./choose.ts";
import { releasing, unknown, workloadExists } from "./errors.ts";

export interface MemoryOptions {
  readonly clock?: Clock;
  /** How many freed addresses are remembered, over all blocks; 65,536 by default. */
  readonly remember?: number;
}

interface BlockMemory {
  cursor: Cursor;
  /** In the order of their release, with the release's number. */
  readonly freed: Map<IpAddress, number>;
}

export class MemoryManager implements AddressManager {
  readonly #clock: Clock;
  readonly #remember: number;
  readonly #entries = new Map<string, LedgerEntry>();
  readonly #holders = new Map<IpAddress, string>();
  readonly #blocks = new Map<Prefix, BlockMemory>();
  readonly #memory: Memory = {
    range: usableRange,
    holder: (address) => this.#holders.get(address),
    cursor: (block) => this.#blocks.get(block)?.cursor,
    isFreed: (block, address) => this.#blocks.get(block)?.freed.has(address) ?? false,
    freed: (block) => this.#blocks.get(block)?.freed.keys() ?? [],
  };
  #releases = 0;

  constructor(options: MemoryOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#remember = options.remember ?? REMEMBERED;
  }

  allocate(
    request: AddressRequest,
    blocks: readonly Prefix[],
    reserved: readonly IpAddress[],
    wanted: readonly IpAddress[] = [],
  ): Workload {
    if (this.#entries.has(request.id)) throw workloadExists(request.id);
    const choices = chooseAddresses(this.#memory, blocks, reserved, wanted);
    for (const { block, cursor } of choices) {
      const memory = this.#blocks.get(block);
      if (memory === undefined) this.#blocks.set(block, { cursor, freed: new Map() });
      else memory.cursor = cursor;
    }
    for (const choice of choices) this.#take(choice, request.id);
    const addresses = choices.map((c) => c.address);
    const workload: Workload = { ...request, addresses, since: this.#clock.now() };
    this.#entries.set(request.id, { workload, state: "allocating" });
    return workload;
  }

  #take({ address, block, passed }: Choice, id: string): void {
    for (const other of passed) this.#free(other, block);
    for (const { freed } of this.#blocks.values()) freed.delete(address);
    this.#holders.set(address, id);
  }

  /** Remembers the address as freed in the blocks that it is of, or only in that one. */
  #free(address: IpAddress, only?: Prefix): void {
    for (const [block, { freed }] of this.#blocks) {
      if (only === undefined ? !isUsable(block, address) : block !== only) continue;
      freed.delete(address);
      freed.set(address, ++this.#releases);
    }
    const oldest = this.#releases - this.#remember;
    for (const memory of this.#blocks.values()) {
      for (const [forgotten, release] of memory.freed) {
        if (release > oldest) break;
        memory.freed.delete(forgotten);
        memory.cursor = { ...memory.cursor, forgotten: true };
      }
    }
  }

  markReady(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw unknown(id);
    if (entry.state === "releasing") throw releasing(id);
    this.#setState(entry, "ready");
  }

  beginRelease(id: string): boolean {
    const entry = this.#entries.get(id);
    if (entry !== undefined) this.#setState(entry, "releasing");
    return entry !== undefined;
  }

  #setState({ workload }: LedgerEntry, state: WorkloadState): void {
    this.#entries.set(workload.id, { workload, state });
  }

  release(id: string): boolean {
    const entry = this.#entries.get(id);
    if (entry === undefined) return false;
    this.#entries.delete(id);
    for (const address of entry.workload.addresses) {
      this.#holders.delete(address);
      this.#free(address);
    }
    return true;
  }

  get(id: string): LedgerEntry | undefined {
    return this.#entries.get(id);
  }

  workloads(): readonly LedgerEntry[] {
    return [...this.#entries.values()];
  }

  usage(blocks: readonly Prefix[]): readonly BlockUsage[] {
    return usageOf(blocks, [...this.#holders.keys()]);
  }

  close(): void {
    this.#entries.clear();
    this.#holders.clear();
    this.#blocks.clear();
  }
}
