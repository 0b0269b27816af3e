/** The plan of services under test, on one namespace's nftables, with a clock that the test moves. */
import { createLogger, FakeClock } from "@weft/base";
import type { Kernel, Nftables } from "@weft/kernel/port";
import { planKey, SERVICE_PLAN_KINDS, type ServicePlanRow } from "@weft/model";
import { createPlan, type Plan } from "../../plan.ts";

export class TestServices {
  readonly plan: Plan;
  readonly warnings: string[] = [];
  readonly #clock = new FakeClock();
  #rows = new Map<string, ServicePlanRow>();

  constructor(nftables: Nftables) {
    this.plan = createPlan({
      // Services are nothing but nftables.
      kernel: { nftables } as unknown as Kernel,
      clock: this.#clock,
      logger: createLogger((text) => this.warnings.push(text), "warn"),
      repairInterval: () => 4000,
      kinds: SERVICE_PLAN_KINDS,
      chunk: () => 10_000,
    });
  }

  /** Has exactly these rows, and waits until nothing can be done now. */
  async go(rows: readonly ServicePlanRow[]): Promise<void> {
    const wanted = new Map(rows.map((row) => [`${row.kind} ${planKey(row)}`, row]));
    const gone = [...this.#rows].filter(([key]) => !wanted.has(key)).map(([, row]) => row);
    this.plan.change(rows, gone);
    this.#rows = wanted;
    this.plan.applier.start();
    await this.plan.applier.settled();
    const [error] = this.errors();
    if (error !== undefined) throw new Error(error);
  }

  /** Lets time pass: retries, and a comparison with the kernel. */
  async later(): Promise<void> {
    this.#clock.advance(10_000);
    await this.plan.applier.settled();
  }

  errors(): string[] {
    return this.plan.kinds.flatMap(({ kind, reconciler }) =>
      [...reconciler.statuses()]
        .filter(([, { state }]) => state !== "done")
        .map(([key, { state, message }]) => `${kind} ${key}: ${message ?? state}`),
    );
  }

  async drift(): Promise<string[]> {
    return (await this.plan.drift("n1")).map((d) => `${d.kind} ${d.key}: ${d.difference}`);
  }

  stop(): Promise<void> {
    return this.plan.applier.stop();
  }
}
