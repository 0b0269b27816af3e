/**
 * Services of a node while they are this agent's to serve.
 *
 *   manifests | Kubernetes API + copy --> tables --> services compiler --> Feed --> Plan --> reconcilers --> nftables
 *                          ^                             |
 *                 links, addresses                       +--> health check ports, healthz, events
 *
 * The kernel is not touched before a whole state is known, of which the node's own Node is a part: what an earlier agent
 * left there serves until then.
 */
import { createPlan, type Plan } from "@weft/apply";
import { type Clock, describeError, type Logger } from "@weft/base";
import { allProblems, createServices, explainService, type Services, summaries } from "@weft/compile";
import { type Kernel, type KernelEvent, LINK_PREFIX } from "@weft/kernel/port";
import {
  type Drift,
  type Problem,
  planKey,
  SERVICE_PLAN_KINDS,
  type ServiceDetail,
  type ServiceSummary,
  type ServicesStatus,
  type Settings,
  serviceOrigin,
} from "@weft/model";
import type { ClusterSource } from "../cluster-source.ts";
import { tableStatus } from "../status.ts";
import { readUnderlay } from "../underlay.ts";
import { type Announcer, createAnnouncer, LOCAL } from "./announcer.ts";
import { Feed } from "./feed.ts";
import { createServiceFlows, type ServiceFlows } from "./flows.ts";
import { HealthPorts } from "./health-ports.ts";
import { createHealthz, type Healthz } from "./healthz.ts";
import { type ServicesSource, startSource } from "./source.ts";

export interface ActiveOptions {
  readonly kernel: Kernel;
  readonly node: string;
  readonly source: ClusterSource;
  readonly copy: string;
  readonly settings: Settings;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Reading back costs one question while nobody else has changed any table, and much more when somebody has. */
const REPAIR_MS = 10_000;
/** All that is known at once goes to the kernel in few transactions. */
const ROWS_AT_ONCE = 10_000;
/** What follows from changes and can wait: health ports, events. */
const AFTERWARDS_MS = 200;
/** How often what could not be opened is tried again. */
const RETRY_MS = 10_000;
/** A change that waits for the kernel for longer makes the node unhealthy; kube-proxy's is 2 x 30 s. */
const LATE_MS = 60_000;
const HEALTH_MS = 1000;
/** Larger tables show their faulty rows only in status. */
const ITEMS_SHOWN = 500;

export class ActiveServices {
  readonly #options: ActiveOptions;
  readonly #services: Services;
  readonly #plan: Plan;
  readonly #flows: ServiceFlows;
  readonly #feed: Feed;
  readonly #ports: HealthPorts;
  readonly #healthz: Healthz;
  readonly #source: ServicesSource;
  readonly #announcer: Announcer | undefined;
  readonly #stopWatch: () => void;
  #known = false;
  #running = false;
  #stopped = false;
  #afterwards: (() => void) | undefined;
  #underlayTimer: (() => void) | undefined;
  #retry: (() => void) | undefined;
  #pendingSince: number | undefined;
  #health = { at: Number.NEGATIVE_INFINITY, readable: true };
  #healthzPort: number;

  /** Throws for credentials that cannot be used. */
  constructor(options: ActiveOptions) {
    const { kernel, node, clock, logger, settings } = options;
    this.#options = options;
    this.#healthzPort = settings.services.healthzPort;
    this.#services = createServices({
      freeze: false,
      onError: (error, where) => logger.error("a listener failed", { where, error: describeError(error) }),
    });
    this.#plan = createPlan({
      kernel,
      clock,
      logger,
      kinds: SERVICE_PLAN_KINDS,
      freeze: false,
      repairInterval: () => REPAIR_MS,
      chunk: () => ROWS_AT_ONCE,
      onFrontend: (before, after) => this.#flows.changed(before, after),
    });
    this.#flows = createServiceFlows({
      kernel,
      clock,
      logger,
      services: this.#services,
      plan: this.#plan,
      resetConnections: () => this.#services.self.get("self")?.settings.services.resetConnections === true,
    });
    this.#feed = new Feed(this.#services, this.#plan);
    this.#ports = new HealthPorts(() => this.healthy());
    this.#healthz = createHealthz({
      healthy: () => this.healthy(),
      leaving: () => this.#services.nodes.get(node)?.leaving === true,
      now: () => clock.now(),
    });
    this.#write(() => {
      this.#services.self.put({ key: "self", name: node, settings });
      this.#services.underlay.replaceAll(readUnderlay(kernel.self));
    });
    this.#source = startSource({
      ...options,
      services: this.#services,
      write: (change) => this.#write(change),
      onKnown: async () => {
        this.#known = true;
        this.#committed();
        // Without a Node there is nothing to wait for.
        if (this.#running) await this.#plan.applier.settled();
      },
    });
    const { client } = this.#source;
    this.#announcer = client === undefined ? undefined : createAnnouncer(client, node, logger);
    this.#stopWatch = kernel.watch((event) => this.#hear(event), { rulesets: false });
    this.#later();
  }

  setSettings(settings: Settings): void {
    this.#healthzPort = settings.services.healthzPort;
    this.#write(() => this.#services.self.put({ key: "self", name: this.#options.node, settings }));
  }

  pause(milliseconds: number): void {
    if (milliseconds > 0) this.#plan.applier.pause(milliseconds);
    else this.#plan.applier.resume();
    this.#plan.applier.requestRepair();
  }

  /** No change has waited for too long, and the table can be read. Balancers ask often, so this is not looked up each time. */
  healthy(): boolean {
    const now = this.#options.clock.monotonic();
    if (now - this.#health.at > HEALTH_MS) {
      const summaries = Object.values(this.#plan.applier.summary());
      this.#health = { at: now, readable: summaries.every((s) => s.repairError === undefined) };
    }
    const late = this.#pendingSince !== undefined && now - this.#pendingSince > LATE_MS;
    return this.#running && !late && this.#health.readable;
  }

  #write(change: () => void): void {
    this.#services.database.write(change);
    this.#committed();
  }

  #committed(): void {
    if (!this.#known || this.#stopped) return;
    if (this.#feed.carryOver() && !this.#running) {
      this.#running = true;
      this.#plan.applier.start();
      void this.#plan.applier.settled().then(() => this.#flows.sweep());
      this.#options.logger.info("services are served", { services: this.#services.services.size });
    }
    this.#flows.committed();
    if (this.#running && this.#pendingSince === undefined) {
      this.#pendingSince = this.#options.clock.monotonic();
      void this.#plan.applier.settled().then(() => {
        this.#pendingSince = undefined;
      });
    }
    this.#later();
  }

  /** Health ports, events, and what could not be opened before. */
  #later(): void {
    if (this.#stopped) return;
    const { clock } = this.#options;
    this.#afterwards ??= clock.setTimeout(() => {
      this.#afterwards = undefined;
      if (this.#known) this.#lookAfter();
    }, AFTERWARDS_MS);
  }

  #lookAfter(): void {
    const { clock } = this.#options;
    const addresses = [...this.#plan.rows("node-port-address")].map((row) => row.ip);
    this.#ports.set(this.#running ? this.#services.healthChecks() : [], addresses);
    this.#healthz.listen(this.#healthzPort);
    this.#announcer?.problems(this.#problems(), this.#services.nodes.keys());
    this.#retry?.();
    const failed = this.#ports.faults.length > 0 || this.#healthz.state.startsWith("off:");
    this.#retry = failed ? clock.setTimeout(() => this.#lookAfter(), RETRY_MS) : undefined;
  }

  #problems(): Problem[] {
    const ports = this.#ports.faults.map(({ check, address, why }): Problem => {
      return {
        key: `${LOCAL}health ${address} ${check.port}`,
        message: `health check port ${check.port} cannot be opened on ${address} of node ${this.#options.node}: ${why}`,
        hint: "Find out who listens there with: ss -ltnp",
        origin: {
          kind: "Service",
          namespace: check.namespace,
          name: check.name,
          ...(check.uid === undefined ? {} : { uid: check.uid }),
          field: "spec.healthCheckNodePort",
        },
      };
    });
    return [...allProblems(this.#services), ...ports];
  }

  #hear(event: KernelEvent): void {
    if (event.kind !== "overflow" && event.kind !== "link" && event.kind !== "address") return;
    if (event.kind !== "overflow" && event.link?.startsWith(LINK_PREFIX) === true) return;
    const { clock, kernel, logger } = this.#options;
    this.#underlayTimer ??= clock.setTimeout(() => {
      this.#underlayTimer = undefined;
      try {
        const links = readUnderlay(kernel.self);
        this.#write(() => this.#services.underlay.replaceAll(links));
      } catch (error) {
        logger.warn("the node's links cannot be read", { error: describeError(error) });
      }
    }, AFTERWARDS_MS);
  }

  status(): ServicesStatus {
    const frontends = this.#plan.kinds.find(({ kind }) => kind === "frontend");
    return {
      state: this.#running ? "active" : "waiting",
      why: this.#running ? undefined : this.#waitingFor(),
      source: this.#source.state(),
      services: this.#services.services.size,
      endpointSlices: this.#services.slices.size,
      frontends: frontends?.table.size ?? 0,
      healthy: this.healthy(),
      healthz: this.#healthz.state,
      plan: this.#plan.kinds.map((kind) => tableStatus(kind, ITEMS_SHOWN)),
      problems: this.#problems(),
      sourceErrors: this.#source.errors(),
    };
  }

  #waitingFor(): string {
    return this.#known
      ? `there is no Node named ${this.#options.node}`
      : "the cluster's services are being read";
  }

  list(): readonly ServiceSummary[] {
    return summaries(this.#services);
  }

  drift(): Promise<Drift[]> {
    return this.#running ? this.#plan.drift(this.#options.node) : Promise.resolve([]);
  }

  /** Undefined when there is no such service. */
  async detail(namespace: string, name: string): Promise<ServiceDetail | undefined> {
    const found = explainService(this.#services, namespace, name);
    if (found === undefined) return undefined;
    const reconciler = this.#plan.kinds.find(({ kind }) => kind === "frontend")?.reconciler;
    const own = serviceOrigin(found.service);
    const connections = await this.#flows.counts(found.frontends);
    return {
      ...found,
      node: this.#options.node,
      zone: this.#services.context()?.zone,
      frontends: found.frontends.map((row) => {
        const status = reconciler?.status(planKey(row));
        return {
          row,
          state: status?.state ?? "pending",
          error: status?.message,
          connections: connections.get(planKey(row)),
        };
      }),
      problems: [
        ...found.problems,
        ...this.#problems().filter(({ key, origin }) => {
          return key.startsWith(LOCAL) && origin.namespace === own.namespace && origin.name === own.name;
        }),
      ],
    };
  }

  /** The kernel keeps what it holds. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#stopWatch();
    this.#feed.stop();
    this.#flows.close();
    for (const cancel of [this.#afterwards, this.#underlayTimer, this.#retry]) cancel?.();
    await Promise.all([this.#ports.stop(), this.#healthz.stop(), this.#source.stop()]);
    await this.#announcer?.stop();
    await this.#plan.applier.stop();
  }
}
