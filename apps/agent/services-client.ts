/** The services thread as the main thread sees it: started, told of settings, asked. */
import { type Logger, WeftError } from "@weft/base";
import type { ServicesStatus, Settings } from "@weft/model";
import type { ClusterSource } from "./cluster-source.ts";
import { inactive } from "./services/inactive.ts";
import type { Answers, FromServices, Question, ToServices } from "./services/messages.ts";

export interface ServicesThreadOptions {
  readonly node: string;
  readonly source: ClusterSource;
  readonly copy: string;
  /** The kernel holds services of an earlier agent. */
  readonly hasLeftovers: () => boolean;
  readonly logger: Logger;
}

/** A large table being read back may take a while; a status must come all the same. */
const ANSWER_MS = 5000;
const STATUS_MS = 1000;
const STOP_MS = 8000;
/**
 * Waits before a thread that failed is started again, doubled with each failure: what a thread that ends in the middle had
 * open in the kernel stays open until the agent ends.
 */
const RESTART_MS = 1000;
const RESTART_MOST_MS = 300_000;
/** A thread that ran as long as this starts a new count. */
const HEALTHY_MS = 600_000;

export class ServicesThread {
  readonly #options: ServicesThreadOptions;
  #worker: Worker | undefined;
  readonly #asked = new Map<number, PromiseWithResolvers<unknown>>();
  #next = 0;
  #settings: Settings | undefined;
  #last: ServicesStatus = inactive("the settings are being read", "waiting");
  #stopped: (() => void) | undefined;
  #startedAt = 0;
  #failures = 0;
  /** When the pause that was asked for last ends, by performance.now(). */
  #pausedUntil = 0;

  constructor(options: ServicesThreadOptions) {
    this.#options = options;
  }

  /** Starts the thread, unless there is nothing for it to do; later settings are handed on. */
  settings(settings: Settings): void {
    this.#settings = settings;
    if (this.#worker !== undefined) this.#send({ type: "settings", settings });
    else if (settings.services.enabled !== "off" || this.#options.hasLeftovers()) this.#start(settings);
    else this.#last = inactive("services.enabled is off");
  }

  #start(settings: Settings): void {
    const { node, source, copy } = this.#options;
    const worker = new Worker(new URL("./services-thread.ts", import.meta.url).href);
    this.#worker = worker;
    this.#startedAt = performance.now();
    worker.onmessage = (event: MessageEvent<FromServices>) => this.#hear(event.data);
    worker.onerror = (event) => this.#failed(worker, event.message);
    this.#send({ type: "start", node, source, copy, settings });
    const pause = this.#pausedUntil - performance.now();
    if (pause > 0) this.#send({ type: "pause", milliseconds: Math.ceil(pause) });
  }

  /** The kernel goes on with what it holds; whatever else this agent does must not end with its services. */
  #failed(worker: Worker, message: string): void {
    if (worker !== this.#worker) return;
    if (performance.now() - this.#startedAt > HEALTHY_MS) this.#failures = 0;
    const wait = Math.min(RESTART_MS * 2 ** this.#failures++, RESTART_MOST_MS);
    this.#options.logger.error("the services thread failed, and is started again", { error: message, wait });
    worker.terminate();
    this.#worker = undefined;
    for (const asked of this.#asked.values())
      asked.reject(new WeftError("unavailable", `the services thread failed: ${message}`));
    this.#asked.clear();
    this.#last = inactive(`the services thread failed, and is started again: ${message}`, "waiting");
    setTimeout(() => {
      if (this.#settings !== undefined && this.#worker === undefined) this.settings(this.#settings);
    }, wait);
  }

  /** Zero ends a pause. A thread that is started meanwhile begins paused. */
  pause(milliseconds: number): void {
    this.#pausedUntil = performance.now() + milliseconds;
    this.#send({ type: "pause", milliseconds });
  }

  /** Throws "timeout" when the thread is busy, "unavailable" before it is started. */
  ask<Q extends Question>(question: Q, limit = ANSWER_MS): Promise<Answers[Q["about"]]> {
    if (this.#worker === undefined) {
      return Promise.reject(new WeftError("unavailable", `services are not served here: ${this.#last.why}`));
    }
    const id = this.#next++;
    const answer = Promise.withResolvers<unknown>();
    this.#asked.set(id, answer);
    const timer = setTimeout(() => {
      this.#asked.delete(id);
      answer.reject(
        new WeftError("timeout", "the services thread is busy", { hint: "Ask again in a moment." }),
      );
    }, limit);
    this.#send({ type: "ask", id, question });
    return answer.promise.finally(() => clearTimeout(timer)) as Promise<Answers[Q["about"]]>;
  }

  /** Never throws: while the thread is busy, what it said last. */
  async status(): Promise<ServicesStatus> {
    if (this.#worker === undefined) return this.#last;
    try {
      this.#last = await this.ask({ about: "status" }, STATUS_MS);
    } catch {
      // The last one counts.
    }
    return this.#last;
  }

  async stop(): Promise<void> {
    const worker = this.#worker;
    this.#settings = undefined;
    if (worker === undefined) return;
    await Promise.race([
      new Promise<void>((resolve) => {
        this.#stopped = resolve;
        this.#send({ type: "stop" });
      }),
      Bun.sleep(STOP_MS),
    ]);
    worker.terminate();
    this.#worker = undefined;
  }

  #send(message: ToServices): void {
    this.#worker?.postMessage(message);
  }

  #hear(message: FromServices): void {
    if (message.type === "log") this.#options.logger.log(message.level, message.message);
    else if (message.type === "stopped") this.#stopped?.();
    else {
      const asked = this.#asked.get(message.id);
      this.#asked.delete(message.id);
      if (message.type === "answer") asked?.resolve(message.value);
      else asked?.reject(new WeftError("unavailable", message.message));
    }
  }
}
