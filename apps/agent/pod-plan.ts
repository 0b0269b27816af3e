/** The pod side's rows in the plan: one set a workload, made again when the node's context changes. */
import type { Plan } from "@weft/apply";
import { attachmentRows } from "@weft/compile";
import { type NodeContext, type PlanRow, planKey, type Workload } from "@weft/model";
import type { KnownPods } from "./known-pods.ts";

export class PodPlan {
  readonly #plan: Plan;
  readonly #known: KnownPods;
  readonly #rows = new Map<string, readonly PlanRow[]>();
  readonly #workloads = new Map<string, Workload>();
  #context: NodeContext | undefined;

  constructor(plan: Plan, known: KnownPods) {
    this.#plan = plan;
    this.#known = known;
  }

  get context(): NodeContext | undefined {
    return this.#context;
  }

  /** Rows of that workload as planned now; empty when it is unknown or the context is. */
  rows(id: string): readonly PlanRow[] {
    return this.#rows.get(id) ?? [];
  }

  workloads(): Workload[] {
    return [...this.#workloads.values()];
  }

  /** True when the node's end of a workload in the plan has that name. */
  hasLink(hostLink: string): boolean {
    for (const w of this.#workloads.values()) if (w.hostLink === hostLink) return true;
    return false;
  }

  set(workloads: readonly Workload[]): void {
    const put = workloads.flatMap((w) => {
      this.#workloads.set(w.id, w);
      return this.#context === undefined ? [] : this.#compile(w, this.#context);
    });
    this.#plan.change(put, []);
  }

  /** Other pods are known: rows whose pod has another uid now say so. */
  rename(): void {
    const context = this.#context;
    if (context === undefined) return;
    const renamed = this.workloads().filter((w) => {
      if (w.podName === undefined) return false;
      const origin = this.rows(w.id)[0]?.origin;
      return origin !== undefined && origin.uid !== this.#known.uidOf(w);
    });
    this.#plan.change(
      renamed.flatMap((w) => this.#compile(w, context)),
      [],
    );
  }

  /** Takes the workload out of the plan; returns the rows that it had. */
  remove(id: string): readonly PlanRow[] {
    const rows = this.rows(id);
    this.#workloads.delete(id);
    this.#rows.delete(id);
    this.#plan.change([], rows);
    return rows;
  }

  setContext(context: NodeContext): void {
    this.#context = context;
    const before = new Map([...this.#rows.values()].flat().map((r) => [`${r.kind} ${planKey(r)}`, r]));
    const put = this.workloads().flatMap((w) => this.#compile(w, context));
    for (const row of put) before.delete(`${row.kind} ${planKey(row)}`);
    this.#plan.change(put, before.values());
  }

  #compile(w: Workload, context: NodeContext): readonly PlanRow[] {
    const rows = attachmentRows(this.#known.named(w), context);
    this.#rows.set(w.id, rows);
    return rows;
  }
}
