/**
 * The fabric side of the agent's main thread: takes facts from the cluster thread and keeps what they say. Rows
 * go into the plan, the node's context to the pod side. While there is no context (the own Node is missing, its
 * address is nowhere) the last good plan stays as it is: a network is not torn down because an input vanished.
 */
import type { Plan } from "@weft/apply";
import type { Fact } from "@weft/compile";
import {
  DEFAULT_SETTINGS,
  type NodeContext,
  type PeerPath,
  type PlanRow,
  type Problem,
  planKey,
  type Settings,
} from "@weft/model";
import type { FromCluster } from "./messages.ts";

export class FabricState {
  settings: Settings = DEFAULT_SETTINGS;
  settingsError: string | undefined;
  sourceErrors: readonly string[] = [];
  sourceState = "";
  readonly #plan: Plan;
  readonly #onContext: (context: NodeContext) => void;
  readonly #facts = new Map<string, Fact>();
  /** Rows of ours that are in the plan now, by id of their fact. */
  readonly #planned = new Map<string, PlanRow>();
  /** Facts changed while there was no context: the plan is behind by more than the next message. */
  #behind = true;

  constructor(plan: Plan, onContext: (context: NodeContext) => void) {
    this.#plan = plan;
    this.#onContext = onContext;
  }

  take(message: Extract<FromCluster, { type: "facts" }>): void {
    for (const id of message.remove) this.#facts.delete(id);
    for (const { id, fact } of message.put) this.#facts.set(id, fact);
    const context = this.#of("context")[0]?.context;
    if (context === undefined) {
      this.#behind = true;
      return;
    }
    const changed = this.#behind
      ? [...this.#facts.keys(), ...this.#planned.keys()]
      : [...message.remove, ...message.put.map((p) => p.id)];
    this.#behind = false;
    this.#carryOver(new Set(changed));
    this.#onContext(context);
  }

  /** Brings the plan to the facts with these ids. */
  #carryOver(ids: Iterable<string>): void {
    const put: PlanRow[] = [];
    const remove: PlanRow[] = [];
    for (const id of ids) {
      const fact = this.#facts.get(id);
      const row = fact?.type === "row" ? fact.row : undefined;
      const before = this.#planned.get(id);
      if (row === undefined) this.#planned.delete(id);
      else this.#planned.set(id, row);
      if (row !== undefined) put.push(row);
      else if (before !== undefined) remove.push(before);
    }
    const kept = new Set(put.map((r) => `${r.kind} ${planKey(r)}`));
    this.#plan.change(
      put,
      remove.filter((r) => !kept.has(`${r.kind} ${planKey(r)}`)),
    );
  }

  peers(): PeerPath[] {
    return this.#of("path").map((f) => f.path);
  }

  /** Why there is no context now, though there may have been one: the plan is the last good one. */
  lost(): Problem | undefined {
    return this.#behind ? this.problems()[0] : undefined;
  }

  problems(): Problem[] {
    return this.#of("problem").map((f) => f.problem);
  }

  #of<T extends Fact["type"]>(type: T): Extract<Fact, { type: T }>[] {
    const found: Extract<Fact, { type: T }>[] = [];
    for (const fact of this.#facts.values())
      if (fact.type === type) found.push(fact as Extract<Fact, { type: T }>);
    return found;
  }
}
