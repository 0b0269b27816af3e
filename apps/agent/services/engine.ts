/**
 * Decides whether services are this agent's to serve, and sees to it that they are, or are not. In mode auto kube-proxy
 * may come and go while the agent runs; so it is looked for again and again.
 */
import { SERVICES_TABLE } from "@weft/apply";
import { describeError, hintOf } from "@weft/base";
import type { Settings } from "@weft/model";
import { type ActiveOptions, ActiveServices } from "./active.ts";
import { inactive } from "./inactive.ts";
import type { Answers, Question } from "./messages.ts";
import { reasonToBeOff } from "./other-proxy.ts";

const LOOK_MS = 10_000;

export class ServicesEngine {
  readonly #options: Omit<ActiveOptions, "settings">;
  #settings: Settings;
  #active: ActiveServices | undefined;
  #why: string | undefined;
  #cancel: (() => void) | undefined;
  /** One change between on and off at a time. */
  #turn: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor({ settings, ...options }: ActiveOptions) {
    this.#options = options;
    this.#settings = settings;
    this.#look();
  }

  setSettings(settings: Settings): void {
    this.#settings = settings;
    this.#active?.setSettings(settings);
    this.#look();
  }

  pause(milliseconds: number): void {
    this.#active?.pause(milliseconds);
  }

  #look(): void {
    this.#cancel?.();
    this.#turn = this.#turn.then(() => this.#decide()).catch((error: unknown) => this.#failed(error));
    this.#cancel = this.#options.clock.setTimeout(() => this.#look(), LOOK_MS);
  }

  async #decide(): Promise<void> {
    if (this.#stopped) return;
    const { kernel, logger } = this.#options;
    const why = reasonToBeOff(this.#settings.services.enabled, kernel);
    if (why !== this.#why) {
      if (why !== undefined) logger.info("services are not served", { why });
      this.#why = why;
    }
    if (why === undefined) {
      this.#active ??= new ActiveServices({ ...this.#options, settings: this.#settings });
      return;
    }
    const former = this.#active;
    this.#active = undefined;
    await former?.stop();
    if (!kernel.nftables.tableExists("inet", SERVICES_TABLE)) return;
    kernel.nftables.commit("inet", SERVICES_TABLE, [{ do: "delete-table" }]);
    logger.info("the table of services was removed", { table: SERVICES_TABLE });
  }

  #failed(error: unknown): void {
    const hint = hintOf(error);
    this.#why = `${describeError(error)}${hint === undefined ? "" : `. ${hint}`}`;
    this.#options.logger.error("services cannot be served", { error: this.#why });
  }

  async answer(question: Question): Promise<Answers[Question["about"]]> {
    await this.#turn;
    switch (question.about) {
      case "status":
        return this.#active?.status() ?? inactive(this.#why ?? "");
      case "list":
        return this.#active?.list() ?? [];
      case "drift":
        return this.#active?.drift() ?? [];
      case "service":
        return this.#active?.detail(question.namespace, question.name);
    }
  }

  /** The kernel keeps what it holds. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#turn;
    await this.#active?.stop();
  }
}
