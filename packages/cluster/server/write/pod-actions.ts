/**
 * What a scheduler and whoever empties a node do with a pod: binding says on which node it runs, once; eviction is a
 * deletion that a PodDisruptionBudget could refuse (Kubernetes documentation, "API-initiated Eviction"). There are no
 * budgets here, so that it is a deletion.
 */
import { badRequest, conflict, invalid, notFound } from "../errors.ts";
import { Faults } from "../faults.ts";
import { PODS } from "../resources/pod.ts";
import { builtInCheck, type Check } from "../schema/known.ts";
import { refTo } from "../schema/schema.ts";
import { dropNulls } from "../schema/walk.ts";
import { Rollback, type Store } from "../storage/store.ts";
import {
  type ApiObject,
  at,
  clone,
  ensure,
  isMap,
  items,
  type Mapping,
  mapping,
  mappings,
  text,
  timestamp,
} from "../values.ts";
import { type DeleteOptions, deleteOptionsOf, refuseOther, remove } from "./deletion.ts";
import { countGeneration } from "./metadata.ts";

const checkBinding = builtInCheck(refTo("V1Binding"));
const checkEviction = builtInCheck(refTo("V1Eviction"));

/** What is answered when it is done. */
export const DONE: Mapping = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success" };

export interface Binding {
  readonly name: string;
  readonly node: string;
  readonly uid: string | undefined;
  readonly resourceVersion: string | undefined;
  readonly annotations: Mapping;
  readonly labels: Mapping;
}

/** `name` is that of the path, if it has one. Throws 400, 422. */
export function bindingOf(body: unknown, name: string | undefined): Binding {
  const sent = read(body, "v1", "Binding", checkBinding, name);
  const target = mapping(sent["target"]);
  const faults = new Faults();
  if (text(target["kind"]) !== "" && target["kind"] !== "Node") {
    faults.oneOf("target.kind", target["kind"], ["Node", "<empty>"]);
  }
  if (text(target["name"]) === "") faults.required("target.name");
  if (faults.list.length > 0)
    throw invalid(named("", "Binding"), text(at(sent, "metadata", "name")), faults.list);
  const { uid, resourceVersion, annotations, labels } = mapping(sent["metadata"]);
  return {
    name: text(at(sent, "metadata", "name")),
    node: text(target["name"]),
    uid: text(uid) || undefined,
    resourceVersion: text(resourceVersion) || undefined,
    annotations: mapping(annotations),
    labels: mapping(labels),
  };
}

/** The pod as it is then. Throws 404, 409. */
export function bind(
  store: Store,
  key: string,
  binding: Binding,
  { now, dryRun }: { readonly now: number; readonly dryRun: boolean },
): Promise<ApiObject> {
  const { name, node } = binding;
  return store.transact((tx) => {
    const held = tx.get(PODS.storage, key);
    if (held === undefined) throw notFound(PODS, name);
    const old = JSON.parse(held.value) as ApiObject;
    refuseOther(PODS, old, binding);
    const why = unbindable(old);
    if (why !== undefined) throw conflict({ ...PODS, plural: "pods/binding" }, name, why);
    const pod = clone(old);
    ensure(pod, "spec")["nodeName"] = node;
    for (const field of ["annotations", "labels"] as const) {
      if (Object.keys(binding[field]).length > 0) Object.assign(ensure(pod.metadata, field), binding[field]);
    }
    const status = ensure(pod, "status");
    delete status["nominatedNodeName"];
    const others = mappings(status["conditions"]).filter(({ type }) => type !== "PodScheduled");
    const scheduled = {
      type: "PodScheduled",
      status: "True",
      lastProbeTime: null,
      lastTransitionTime: timestamp(now),
    };
    status["conditions"] = [...others, scheduled];
    countGeneration(pod, old);
    tx.put(PODS.storage, key, pod);
    if (dryRun) throw new Rollback(pod);
    return pod;
  });
}

function unbindable(pod: ApiObject): string | undefined {
  const { name, deletionTimestamp } = pod.metadata;
  const node = text(at(pod, "spec", "nodeName"));
  if (deletionTimestamp !== undefined) return `pod ${name} is being deleted, cannot be assigned to a host`;
  if (node !== "") return `pod ${name} is already assigned to node ${JSON.stringify(node)}`;
  if (items(at(pod, "spec", "schedulingGates")).length > 0) {
    return `pod ${name} has non-empty .spec.schedulingGates`;
  }
  return undefined;
}

/** Throws 400, 404, 409. */
export async function evict(
  store: Store,
  key: string,
  name: string,
  body: unknown,
  query: URLSearchParams,
  now: number,
): Promise<void> {
  const sent = read(body, "policy/v1", "Eviction", checkEviction, name);
  const options: DeleteOptions = deleteOptionsOf(sent["deleteOptions"], query);
  await remove(store, PODS, key, name, options, now);
}

function read(
  body: unknown,
  apiVersion: string,
  kind: string,
  check: Check,
  name: string | undefined,
): Mapping {
  if (!isMap(body)) throw badRequest(`the body of the request must be of kind ${kind}`);
  if (body["kind"] !== kind || body["apiVersion"] !== apiVersion) {
    const given = `${String(body["kind"])} of ${String(body["apiVersion"])}`;
    throw badRequest(`the body of the request must be of kind ${kind} of ${apiVersion}, not ${given}`);
  }
  dropNulls(body);
  const wrong = check(body).filter(({ type }) => type === "FieldValueTypeInvalid");
  if (wrong.length > 0) throw invalid(named(apiVersion.split("/")[0] ?? "", kind), name ?? "", wrong);
  const given = text(at(body, "metadata", "name"));
  if (given === "" && name !== undefined) ensure(body, "metadata")["name"] = name;
  else if (name !== undefined && given !== name) {
    throw badRequest(`name in URL does not match name in ${kind} object: ${name} is not ${given}`);
  }
  return body;
}

const named = (group: string, kind: string) => ({
  group: group === "v1" ? "" : group,
  plural: `${kind.toLowerCase()}s`,
  kind,
});
