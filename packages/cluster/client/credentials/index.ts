/** Where an API server is and what it is shown: from a kubeconfig, or from a pod's service account. */
import { inClusterCredentials, isInCluster } from "./in-cluster.ts";
import { type KubeconfigOptions, kubeconfigCredentials } from "./kubeconfig.ts";
import type { Credentials } from "./types.ts";

export { type InClusterOptions, inClusterCredentials, isInCluster } from "./in-cluster.ts";
export { type KubeconfigOptions, kubeconfigCredentials } from "./kubeconfig.ts";
export type { ClientCertificate, Credentials, Identity, Trust } from "./types.ts";

/**
 * The usual order: a file or context that is named, KUBECONFIG, the service account of the pod that this runs
 * in, ~/.kube/config. Throws WeftError.
 */
export function loadCredentials(options: KubeconfigOptions = {}): Credentials {
  const { path, context, environment = process.env, clock } = options;
  const named = path !== undefined || context !== undefined || Boolean(environment["KUBECONFIG"]);
  if (named || !isInCluster(environment)) return kubeconfigCredentials(options);
  return inClusterCredentials({ environment, ...(clock === undefined ? {} : { clock }) });
}
