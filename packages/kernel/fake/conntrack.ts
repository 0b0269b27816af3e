/** Connection tracking in memory: flows come by add(), as by packets, and go by themselves only when told. */
import { checkFilter, FilterIndex, matches } from "../conntrack/filter.ts";
import type { Conntrack, Flow, FlowFilter } from "../port.ts";
import type { Recorder } from "./recorder.ts";

export class FakeConntrack implements Conntrack {
  readonly #path: string;
  readonly #recorder: Recorder | undefined;
  #flows: Flow[] = [];
  #lastId = 0;

  constructor(path: string, recorder?: Recorder) {
    this.#path = path;
    this.#recorder = recorder;
  }

  /** A flow as packets make it; the result has its id. */
  add(flow: Omit<Flow, "id">): Flow {
    this.#lastId++;
    const made = { ...flow, id: this.#lastId };
    this.#flows.push(made);
    return made;
  }

  async list(filter: FlowFilter): Promise<Flow[]> {
    this.#recorder?.failIfTold("list");
    checkFilter(filter, false);
    return this.#flows.filter((flow) => matches(filter, flow));
  }

  async count(filters: readonly FlowFilter[]): Promise<number[]> {
    this.#recorder?.failIfTold("count");
    for (const filter of filters) checkFilter(filter, false);
    return filters.map((filter) => this.#flows.filter((flow) => matches(filter, flow)).length);
  }

  async flush(filters: readonly FlowFilter[]): Promise<number[]> {
    for (const filter of filters) checkFilter(filter, true);
    this.#recorder?.write({ namespace: this.#path, op: "flush", args: [filters] });
    const index = new FilterIndex(filters);
    const counts = filters.map(() => 0);
    this.#flows = this.#flows.filter((flow) => {
      const position = index.first(flow);
      if (position !== undefined) counts[position] = (counts[position] ?? 0) + 1;
      return position === undefined;
    });
    return counts;
  }

  async remove(flows: readonly Flow[]): Promise<number> {
    this.#recorder?.write({ namespace: this.#path, op: "remove", args: [flows] });
    const ids = new Set(flows.map((flow) => flow.id));
    const before = this.#flows.length;
    this.#flows = this.#flows.filter((flow) => !ids.has(flow.id));
    return before - this.#flows.length;
  }
}
