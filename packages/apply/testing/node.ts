/** A node under test: a plan on a world, with a clock that the test moves. */
import { createLogger, FakeClock } from "@weft/base";
import { type Drift, type PlanRow, planKey } from "@weft/model";
import { createPlan, type Plan } from "../plan.ts";
import type { World } from "./worlds.ts";

/** Longer than any interval of repair and any backoff. */
const LONG = 10_000;

export class TestNode {
  readonly plan: Plan;
  readonly world: World;
  /** What was logged as a warning or worse. */
  readonly warnings: string[] = [];
  readonly #clock = new FakeClock();
  #rows = new Map<string, PlanRow>();

  constructor(world: World) {
    this.world = world;
    this.plan = createPlan({
      kernel: world.kernel,
      clock: this.#clock,
      logger: createLogger((text) => this.warnings.push(text), "warn"),
      repairInterval: () => 4000,
    });
  }

  /** Plans exactly these rows. */
  want(rows: readonly PlanRow[]): void {
    const wanted = new Map(rows.map((row) => [`${row.kind} ${planKey(row)}`, row]));
    const gone = [...this.#rows].filter(([key]) => !wanted.has(key)).map(([, row]) => row);
    this.plan.change(rows, gone);
    this.#rows = wanted;
  }

  /** Starts the reconcilers, if need be, and waits until nothing can be done now. */
  async settle(): Promise<void> {
    this.plan.applier.start();
    await this.plan.applier.settled();
  }

  /** Lets time pass: retries, and a full comparison with the kernel. */
  async later(): Promise<void> {
    this.#clock.advance(LONG);
    await this.plan.applier.settled();
  }

  async go(rows: readonly PlanRow[]): Promise<void> {
    this.want(rows);
    await this.settle();
  }

  /** "kind key: message" of every row in error. */
  errors(): string[] {
    return this.plan.kinds.flatMap(({ kind, reconciler }) =>
      [...reconciler.statuses()]
        .filter(([, { state }]) => state !== "done")
        .map(([key, { state, message }]) => `${kind} ${key}: ${message ?? state}`),
    );
  }

  async drift(rows?: readonly PlanRow[]): Promise<string[]> {
    const found: Drift[] = await this.plan.drift("n1", rows);
    return found.map((d) => `${d.kind} ${d.key}: ${d.difference}`);
  }

  /** Total of what was put right since the start. */
  repairs(): { repaired: number; pruned: number } {
    const sum = { repaired: 0, pruned: 0 };
    for (const { repairs } of this.plan.kinds) {
      sum.repaired += repairs.repaired;
      sum.pruned += repairs.pruned;
    }
    return sum;
  }

  stop(): Promise<void> {
    return this.plan.applier.stop();
  }
}
