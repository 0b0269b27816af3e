/** A simple address manager for tests to compare with: it lists every address, and keeps the lists in order. */
import { addressAt, contains, familyOf, type IpAddress, type Prefix, prefixSize } from "@weft/base";
import type { WorkloadState } from "./address-manager.ts";
import type { Step } from "./suite.ts";

export class Model {
  readonly #blocks: readonly Prefix[];
  readonly #reserved: readonly IpAddress[];
  /** Free addresses of each block: those never used, ascending, then the freed ones as they came. */
  readonly #unused = new Map<Prefix, IpAddress[]>();
  readonly #freed = new Map<Prefix, IpAddress[]>();
  readonly #workloads = new Map<string, { state: WorkloadState; addresses: readonly IpAddress[] }>();

  constructor(blocks: readonly Prefix[], reserved: readonly IpAddress[]) {
    this.#blocks = blocks;
    this.#reserved = reserved;
    for (const block of blocks) {
      const all = Array.from({ length: Number(prefixSize(block)) }, (_, i) => addressAt(block, BigInt(i)));
      const usable = all.length <= 2 ? all : all.slice(1, familyOf(block) === 4 ? -1 : undefined);
      this.#unused.set(
        block,
        usable.filter((ip) => !reserved.includes(ip)),
      );
      this.#freed.set(block, []);
    }
  }

  act(step: Exclude<Step, { do: "reopen" }>): unknown {
    const workload = this.#workloads.get(step.id);
    switch (step.do) {
      case "allocate":
        return workload === undefined ? this.#allocate(step.id, step.wanted) : "exists";
      case "markReady":
        if (workload === undefined) return "not-found";
        if (workload.state === "releasing") return "conflict";
        workload.state = "ready";
        return undefined;
      case "beginRelease":
        if (workload !== undefined) workload.state = "releasing";
        return workload !== undefined;
      case "release":
        this.#workloads.delete(step.id);
        for (const ip of workload?.addresses ?? []) {
          const block = this.#blocks.find((b) => contains(b, ip));
          if (block !== undefined) this.#freed.get(block)?.push(ip);
        }
        return workload !== undefined;
    }
  }

  #allocate(id: string, wanted: readonly IpAddress[]): unknown {
    const families = [...new Set(this.#blocks.map(familyOf))];
    if (wanted.some((ip) => !families.includes(familyOf(ip)))) return "invalid";
    const addresses: IpAddress[] = [];
    for (const family of families) {
      const blocks = this.#blocks.filter((b) => familyOf(b) === family);
      const asked = wanted.filter((ip) => familyOf(ip) === family);
      const free = blocks.flatMap((b) => [...(this.#unused.get(b) ?? []), ...(this.#freed.get(b) ?? [])]);
      if (asked.length > 1) return "invalid";
      const [one] = asked;
      if (one !== undefined && !free.includes(one)) {
        return blocks.some((b) => contains(b, one)) && !this.#reserved.includes(one) ? "busy" : "invalid";
      }
      const address = one ?? free[0];
      if (address === undefined) return "exhausted";
      addresses.push(address);
    }
    for (const lists of [this.#unused, this.#freed]) {
      for (const [block, list] of lists) {
        lists.set(
          block,
          list.filter((ip) => !addresses.includes(ip)),
        );
      }
    }
    this.#workloads.set(id, { state: "allocating", addresses });
    return addresses;
  }

  list(): (string | readonly IpAddress[])[][] {
    return [...this.#workloads].map(([id, w]) => [id, w.state, w.addresses]);
  }

  used(): number[] {
    const held = [...this.#workloads.values()].flatMap((w) => w.addresses);
    return this.#blocks.map((b) => held.filter((ip) => contains(b, ip)).length);
  }
}
