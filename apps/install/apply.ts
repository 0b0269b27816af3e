/**
 * Applies the objects of an install by server-side apply. Whatever is there already and right stays as it is, so that
 * an install which was interrupted is completed by the same command, and a second one changes nothing.
 */
import { isNotFound, WeftError } from "@weft/base";
import {
  type ApiClient,
  applyObject,
  getObject,
  type KubernetesObject,
  listAll,
  patchObject,
} from "@weft/cluster/client";
import { installObjects } from "./objects/index.ts";
import { NAMES, selectorText, UNINSTALLING } from "./objects/labels.ts";
import type { InstallOptions } from "./options.ts";
import { DAEMONSETS, NAMESPACES, nameOf, placeOf, resourceOf } from "./resources.ts";

export const FIELD_MANAGER = "weft-install";
/** Server-side apply is stable since then. */
const OLDEST_MINOR = 22;

export interface ApplyOptions {
  readonly client: ApiClient;
  readonly install: InstallOptions;
  /** Settings were asked for: they replace what is in the cluster. Otherwise those stay, if there are any. */
  readonly withSettings: boolean;
  readonly onObject: (object: string, action: Action) => void;
  readonly signal?: AbortSignal;
}

export type Action = "created" | "changed" | "unchanged";

export interface ApplyReport {
  readonly objects: readonly { readonly object: string; readonly action: Action }[];
}

/**
 * Throws "unsupported" for a cluster that is too old, "exists" when another namespace has a Weft, "busy" while the
 * namespace is being deleted, and what the API server says: "permission", "invalid", "unavailable".
 */
export async function applyInstall(options: ApplyOptions): Promise<ApplyReport> {
  const { client, install, withSettings, onObject, signal } = options;
  await checkVersion(client);
  await checkOthers(client, install.namespace);
  await checkNamespace(client, install.namespace);
  const objects: { object: string; action: Action }[] = [];
  for (const object of installObjects(install)) {
    signal?.throwIfAborted();
    const before = await existing(client, object);
    const keeps = object.kind === "ConfigMap" && before !== undefined && !withSettings;
    if (before !== undefined && object.kind === DAEMONSETS.kind) await takeBack(client, before);
    const action = keeps ? "unchanged" : await applyOne(client, object, before, signal);
    objects.push({ object: nameOf(object), action });
    onObject(nameOf(object), action);
  }
  return { objects };
}

async function applyOne(
  client: ApiClient,
  object: KubernetesObject,
  before: KubernetesObject | undefined,
  signal: AbortSignal | undefined,
): Promise<Action> {
  const after = await applyObject(client, resourceOf(object), object, {
    fieldManager: FIELD_MANAGER,
    force: true,
    ...(signal === undefined ? {} : { signal }),
  });
  if (before === undefined) return "created";
  return after.metadata.resourceVersion === before.metadata.resourceVersion ? "unchanged" : "changed";
}

/** What an uninstall that was given up has put there; an apply leaves what it does not name. */
async function takeBack(client: ApiClient, agents: KubernetesObject): Promise<void> {
  const { spec } = agents as { spec?: { template?: { spec?: { nodeSelector?: Record<string, string> } } } };
  if (spec?.template?.spec?.nodeSelector?.[UNINSTALLING] === undefined) return;
  const patch = { spec: { template: { spec: { nodeSelector: { [UNINSTALLING]: null } } } } };
  await patchObject(
    client,
    DAEMONSETS,
    placeOf(agents) as { name: string; namespace: string },
    "merge",
    patch,
  );
}

async function existing(client: ApiClient, object: KubernetesObject): Promise<KubernetesObject | undefined> {
  try {
    return await getObject(client, resourceOf(object), placeOf(object));
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

async function checkVersion(client: ApiClient): Promise<void> {
  const { major, minor, gitVersion } = await client.request<Record<string, string>>({ path: "/version" });
  // Some providers write "22+".
  const old = major === "1" && Number.parseInt(minor ?? "", 10) < OLDEST_MINOR;
  if (!old) return;
  throw new WeftError("unsupported", `${client.server} is Kubernetes ${gitVersion ?? `${major}.${minor}`}`, {
    hint: `Weft needs Kubernetes 1.${OLDEST_MINOR} or later.`,
  });
}

/** Two agents on a node would undo each other's work. */
async function checkOthers(client: ApiClient, namespace: string): Promise<void> {
  const all = await listAll(client, DAEMONSETS, {}, { labelSelector: selectorText("agent") });
  const found = all.flatMap(({ metadata }) =>
    metadata.name === NAMES.agent && metadata.namespace !== namespace ? (metadata.namespace ?? "") : [],
  );
  if (found.length === 0) return;
  throw new WeftError("exists", `Weft is installed in namespace ${found.join(", ")} already`, {
    object: `DaemonSet ${found[0]}/${NAMES.agent}`,
    hint: `Change that one with --namespace ${found[0]}, or remove it first: weft uninstall --namespace ${found[0]} --apply`,
  });
}

async function checkNamespace(client: ApiClient, name: string): Promise<void> {
  const namespace = await existing(client, {
    apiVersion: NAMESPACES.apiVersion,
    kind: NAMESPACES.kind,
    metadata: { name },
  });
  const phase = (namespace?.["status"] as { phase?: string } | undefined)?.phase;
  if (phase !== "Terminating") return;
  throw new WeftError("busy", `namespace ${name} is being deleted`, {
    object: `Namespace ${name}`,
    hint: `Wait until it is gone (kubectl get namespace ${name}), then run this again; or choose another with --namespace.`,
  });
}
