/** Kinds of the API and the paths of their objects (Kubernetes documentation, "API concepts", resource URIs). */
import { WeftError } from "@weft/base";
import { POOLS_API_VERSION } from "@weft/model";
import { isMapping } from "../field.ts";

export interface Resource {
  /** "v1", "coordination.k8s.io/v1" */
  readonly apiVersion: string;
  readonly kind: string;
  /** "leases" */
  readonly plural: string;
  readonly namespaced: boolean;
}

const define = (apiVersion: string, kind: string, plural: string, namespaced: boolean): Resource => {
  return { apiVersion, kind, plural, namespaced };
};

/** Kinds that this room itself uses. */
export const NODES = define("v1", "Node", "nodes", false);
export const PODS = define("v1", "Pod", "pods", true);
export const SERVICES = define("v1", "Service", "services", true);
export const ENDPOINT_SLICES = define("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", true);
export const SERVICE_CIDRS = define("networking.k8s.io/v1", "ServiceCIDR", "servicecidrs", false);
export const LEASES = define("coordination.k8s.io/v1", "Lease", "leases", true);
export const NAMESPACES = define("v1", "Namespace", "namespaces", false);
export const IP_POOLS = define(POOLS_API_VERSION, "IPPool", "ippools", false);
export const IP_BLOCKS = define(POOLS_API_VERSION, "IPBlock", "ipblocks", false);
export const EVENTS = define("events.k8s.io/v1", "Event", "events", true);

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly [field: string]: unknown;
}

/** An object as the API has it. What is below metadata is for its reader to check. */
export interface KubernetesObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
  readonly [field: string]: unknown;
}

export interface Place {
  /** Of namespaced kinds; without it, all namespaces, which only lists and watches can have. */
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: string;
}

/** The path of an object, or of all of them. Throws "invalid" for what can be no part of a path. */
export function pathOf(resource: Resource, { namespace, name, subresource }: Place = {}): string {
  const what = `${resource.kind} ${name ?? ""}`.trim();
  if (!resource.namespaced && namespace !== undefined) {
    throw new WeftError("invalid", `${what}: ${resource.plural} have no namespace`, { object: what });
  }
  if (resource.namespaced && name !== undefined && namespace === undefined) {
    throw new WeftError("invalid", `${what}: ${resource.plural} have a namespace, and none is given`, {
      object: what,
    });
  }
  const { apiVersion } = resource;
  const parts = [apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`];
  if (namespace !== undefined) parts.push("namespaces", segment(namespace, what));
  parts.push(segment(resource.plural, what));
  if (name !== undefined) parts.push(segment(name, what));
  if (subresource !== undefined) parts.push(segment(subresource, what));
  return parts.join("/");
}

/** apimachinery's own rule for a name inside of a path. */
function segment(text: string, what: string): string {
  if (text !== "" && text !== "." && text !== ".." && !/[/%]/.test(text)) return encodeURIComponent(text);
  throw new WeftError("invalid", `${what}: ${JSON.stringify(text)} cannot be part of a path`, {
    object: what,
    hint: "It must not be empty, '.', '..', or have '/' or '%'.",
  });
}

/** Checks that something is an object with name and resourceVersion. Throws "invalid". */
export function asObject(
  value: unknown,
): KubernetesObject & { readonly metadata: { resourceVersion: string } } {
  const metadata = isMapping(value) && isMapping(value["metadata"]) ? value["metadata"] : {};
  if (isText(metadata["name"]) && isText(metadata["resourceVersion"])) {
    return value as ReturnType<typeof asObject>;
  }
  throw new WeftError(
    "invalid",
    "the server sent an object without metadata.name or metadata.resourceVersion",
    {
      hint: "Check that the address is a Kubernetes API server's.",
    },
  );
}

const isText = (value: unknown): boolean => typeof value === "string" && value !== "";

/** "namespace/name", or the name of what has no namespace: one object of a kind. */
export function identityOf({ metadata }: KubernetesObject): string {
  return metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;
}

/**
 * True when version `a` is older than `b`. Versions of one kind are decimal numbers that grow (KEP-5504);
 * anything else cannot be compared, and is never older.
 */
export function isOlder(a: string, b: string): boolean {
  if (!/^[1-9]\d*$/.test(a) || !/^[1-9]\d*$/.test(b)) return false;
  return a.length === b.length ? a < b : a.length < b.length;
}
