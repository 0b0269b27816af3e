/** What commands that work on a whole cluster have in common: flags, credentials, progress. */
import { writeSync } from "node:fs";
import { VERSION } from "@weft/agent";
import { isNotFound } from "@weft/base";
import {
  type ApiClient,
  type Credentials,
  createClient,
  kubeconfigCredentials,
  loadCredentials,
} from "@weft/cluster/client";
import { DEFAULT_NAMESPACE } from "@weft/install";
import type { Command } from "commander";

export interface ClusterFlags {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace: string;
  readonly timeout: string;
  readonly apply?: boolean;
  readonly json?: boolean;
}

export const withCluster = (command: Command): Command =>
  command
    .option("--kubeconfig <file>", "the cluster (default: KUBECONFIG, ~/.kube/config)")
    .option("--context <name>", "context of the kubeconfig")
    .option("--namespace <name>", "namespace of agents and controller", DEFAULT_NAMESPACE)
    .option("--timeout <duration>", "how long to wait", "5m")
    .option("--json", "the outcome, or without --apply the objects, as JSON");

/** Undefined: there is no kubeconfig, and none was named. */
export function credentialsOf({ kubeconfig, context }: ClusterFlags): Credentials | undefined {
  const options = {
    ...(kubeconfig === undefined ? {} : { path: kubeconfig }),
    ...(context === undefined ? {} : { context }),
  };
  try {
    return kubeconfigCredentials(options);
  } catch (error) {
    const named = kubeconfig !== undefined || context !== undefined || Boolean(process.env["KUBECONFIG"]);
    if (named || !isNotFound(error)) throw error;
    return undefined;
  }
}

export function clientOf(credentials: Credentials | undefined): ApiClient {
  return createClient({
    credentials: credentials ?? loadCredentials(),
    userAgent: `weft-install/${VERSION}`,
  });
}

/** Progress and remarks: standard output is for the outcome. */
export const say = (line: string): void => {
  writeSync(2, `${line}\n`);
};
