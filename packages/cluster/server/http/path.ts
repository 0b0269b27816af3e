/** Paths of resources: "/apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL/NAME/SUBRESOURCE". */
import { noSuchPath } from "../errors.ts";
import type { Registry } from "../registry.ts";
import type { Resource } from "../resource.ts";

export interface Target {
  readonly resource: Resource;
  /** Of namespaced resources; undefined for those of all namespaces. */
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
}

/** Undefined when it is no path of a resource. Throws 404 when there is no such resource. */
export function targetOf(path: string, registry: Registry): Target | undefined {
  const parts = path.split("/").slice(1);
  if (parts.at(-1) === "") parts.pop();
  let group = "";
  if (parts[0] === "apis") group = decode(parts.splice(1, 1)[0]);
  else if (parts[0] !== "api") return undefined;
  const [, version, ...rest] = parts.map(decode);
  if (version === undefined || rest.length === 0) return undefined;
  if (rest[0] === "namespaces" && rest.length > 2 && !/^(status|finalize)$/.test(rest[2] ?? "")) {
    const [, namespace, plural, name, subresource, ...more] = rest;
    // The old place of bindings: the pod's name is in the body.
    if (group === "" && plural === "bindings" && name === undefined) {
      const pods = registry.find(group, version, "pods");
      if (pods !== undefined) return { resource: pods, namespace, name: undefined, subresource: "binding" };
    }
    const resource = registry.find(group, version, plural ?? "");
    if (resource?.namespaced !== true || more.length > 0 || namespace === "") throw noSuchPath();
    return { resource, namespace, name, subresource };
  }
  const [plural = "", name, subresource, ...more] = rest;
  const resource = registry.find(group, version, plural);
  if (resource === undefined || more.length > 0) throw noSuchPath();
  if (resource.namespaced && name !== undefined) throw noSuchPath();
  return { resource, namespace: undefined, name, subresource };
}

function decode(part: string | undefined): string {
  try {
    return decodeURIComponent(part ?? "");
  } catch {
    throw noSuchPath();
  }
}

/** The key of an object in the store. */
export const keyOf = (namespace: string | undefined, name: string): string =>
  namespace === undefined ? name : `${namespace}/${name}`;
