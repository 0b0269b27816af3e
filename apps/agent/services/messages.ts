/** What the agent's main thread and its services thread say to each other. */
import type { Drift, ServiceDetail, ServiceSummary, ServicesStatus, Settings } from "@weft/model";
import type { ClusterSource } from "../cluster-source.ts";

/** To the services thread. */
export type ToServices =
  | {
      readonly type: "start";
      readonly node: string;
      readonly source: ClusterSource;
      /** File of the last known services of an API. */
      readonly copy: string;
      readonly settings: Settings;
    }
  | { readonly type: "settings"; readonly settings: Settings }
  /** Repair is left alone for that many milliseconds; 0: no more. */
  | { readonly type: "pause"; readonly milliseconds: number }
  | { readonly type: "stop" }
  | { readonly type: "ask"; readonly id: number; readonly question: Question };

export type Question =
  | { readonly about: "status" }
  | { readonly about: "list" }
  | { readonly about: "drift" }
  | { readonly about: "service"; readonly namespace: string; readonly name: string };

export interface Answers {
  readonly status: ServicesStatus;
  readonly list: readonly ServiceSummary[];
  readonly drift: readonly Drift[];
  /** Undefined: there is no such service. */
  readonly service: ServiceDetail | undefined;
}

/** From the services thread. */
export type FromServices =
  | { readonly type: "answer"; readonly id: number; readonly value: unknown }
  | { readonly type: "refusal"; readonly id: number; readonly message: string }
  | { readonly type: "log"; readonly level: "info" | "warn" | "error"; readonly message: string }
  /** In answer to "stop". */
  | { readonly type: "stopped" };
