/** CNI_ARGS: "KEY=VALUE;KEY=VALUE", without any quoting. Kubernetes names the pod here. */
import { CniError, CODE } from "../errors.ts";
import { compact } from "../types/json.ts";

export interface KubernetesArguments {
  readonly podNamespace: string;
  readonly podName: string;
  readonly infraContainerId?: string;
  readonly podUid?: string;
}

export interface PluginArguments {
  readonly values: ReadonlyMap<string, string>;
  /** IgnoreUnknown: the plugin shall not refuse keys that it does not know. */
  readonly ignoreUnknown: boolean;
  /** Undefined unless both K8S_POD_NAMESPACE and K8S_POD_NAME are set. */
  readonly kubernetes: KubernetesArguments | undefined;
}

const KUBERNETES = [
  "K8S_POD_NAMESPACE",
  "K8S_POD_NAME",
  "K8S_POD_INFRA_CONTAINER_ID",
  "K8S_POD_UID",
] as const;

const invalid = (why: string): CniError =>
  new CniError(CODE.invalidEnvironment, `CNI_ARGS: ${why}`, { hint: 'Write it like "FOO=BAR;ABC=123".' });

/** Reads CNI_ARGS. A key that comes twice keeps the later value. Throws CniError 4. */
export function parseArguments(text: string): PluginArguments {
  const values = new Map<string, string>();
  for (const pair of text.split(";")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    if (equals < 1) throw invalid(`"${pair.slice(0, 64)}" is no KEY=VALUE`);
    values.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  const podNamespace = values.get("K8S_POD_NAMESPACE");
  const podName = values.get("K8S_POD_NAME");
  return {
    values,
    ignoreUnknown: parseBoolean(values.get("IgnoreUnknown")),
    kubernetes:
      podNamespace === undefined || podName === undefined
        ? undefined
        : compact({
            podNamespace,
            podName,
            infraContainerId: values.get("K8S_POD_INFRA_CONTAINER_ID"),
            podUid: values.get("K8S_POD_UID"),
          }),
  };
}

function parseBoolean(text: string | undefined): boolean {
  const value = (text ?? "false").toLowerCase();
  if (value === "1" || value === "true") return true;
  if (value === "0" || value === "false") return false;
  throw invalid(`IgnoreUnknown is true or false, not "${value.slice(0, 16)}"`);
}

/** Refuses keys other than those of Kubernetes and `known`, unless IgnoreUnknown is true. Throws CniError 4. */
export function requireKnown(args: PluginArguments, known: readonly string[]): void {
  if (args.ignoreUnknown) return;
  const allowed = new Set<string>([...known, ...KUBERNETES, "IgnoreUnknown"]);
  const unknown = [...args.values.keys()].filter((k) => !allowed.has(k));
  if (unknown.length > 0) {
    throw new CniError(CODE.invalidEnvironment, `CNI_ARGS: unknown ${unknown.join(", ")}`, {
      hint: "Leave them out, or add IgnoreUnknown=true.",
    });
  }
}
