/**
 * The compiler's facts into the plan: rows go in as differences, one change a commit. While the own Node is missing the
 * last good plan stays as it is: services are not taken down because an input vanished.
 */
import type { Plan } from "@weft/apply";
import type { ServiceFact, Services } from "@weft/compile";
import { type PlanRow, planKey } from "@weft/model";
import type { Change } from "@weft/store";

const idOf = (row: PlanRow): string => `${row.kind} ${planKey(row)}`;
const rowsOf = (fact: ServiceFact | undefined): readonly PlanRow[] =>
  fact?.type === "rows" ? fact.rows : [];

export class Feed {
  readonly #services: Services;
  readonly #plan: Plan;
  readonly #stops: (() => void)[];
  /** Changes of the commit under way. */
  #changes: Change<ServiceFact>[] = [];
  #behind = true;

  constructor(services: Services, plan: Plan) {
    this.#services = services;
    this.#plan = plan;
    this.#stops = services.facts.map((table) =>
      table.watch(({ changes }) => {
        for (const change of changes) this.#changes.push(change);
      }),
    );
  }

  /** After each commit. False while there is no Node. */
  carryOver(): boolean {
    const changes = this.#changes;
    this.#changes = [];
    if (!this.#services.hasNode()) {
      this.#behind = true;
      return false;
    }
    if (this.#behind) this.#everything();
    else if (changes.length > 0) this.#differences(changes);
    this.#behind = false;
    return true;
  }

  /** The first time, and after a while without a Node. */
  #everything(): void {
    const rows = this.#services.facts.flatMap((table) => table.rows().flatMap(rowsOf));
    if (this.#plan.kinds.every(({ table }) => table.size === 0)) {
      this.#plan.change(rows, []);
      return;
    }
    const wanted = new Map(rows.map((row) => [idOf(row), row]));
    const gone = this.#plan.kinds.flatMap(({ table }) =>
      table.rows().filter((row) => !wanted.has(idOf(row))),
    );
    this.#plan.change(rows, gone);
  }

  /** A row may go in one table of facts and come in another one: what comes counts. */
  #differences(changes: readonly Change<ServiceFact>[]): void {
    const put = new Map<string, PlanRow>();
    const gone = new Map<string, PlanRow>();
    for (const { after } of changes) for (const row of rowsOf(after)) put.set(idOf(row), row);
    for (const { before } of changes) {
      for (const row of rowsOf(before)) if (!put.has(idOf(row))) gone.set(idOf(row), row);
    }
    if (put.size > 0 || gone.size > 0) this.#plan.change(put.values(), gone.values());
  }

  stop(): void {
    for (const stop of this.#stops) stop();
  }
}
