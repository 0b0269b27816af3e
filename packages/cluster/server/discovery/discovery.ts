/** Discovery: which groups, versions and resources there are, in the old form and the aggregated one (KEP-3352). */
import { noSuchPath } from "../errors.ts";
import type { Registry } from "../registry.ts";
import type { Resource } from "../resource.ts";
import { NAMESPACES } from "../resources/plain.ts";
import { PODS } from "../resources/pod.ts";
import type { Mapping } from "../values.ts";

const VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/** Where something may not be deleted, nothing is deleted by a request for all. */
const verbsOf = ({ permanent }: Resource): readonly string[] =>
  permanent.length === 0 ? VERBS : VERBS.filter((verb) => verb !== "deletecollection");
const SUBRESOURCE_VERBS = ["get", "patch", "update"];

const AGGREGATED = /as=APIGroupDiscoveryList/;
const aggregatedVersion = (accept: string): string | undefined =>
  accept
    .split(",")
    .filter((offer) => AGGREGATED.test(offer) && /g=apidiscovery\.k8s\.io/.test(offer))
    .map((offer) => /v=(v2(?:beta1)?)\s*(?:;|$)/.exec(offer.trim())?.[1])
    .find((version) => version !== undefined);

export interface Discovered {
  readonly body: Mapping;
  readonly contentType: string;
}

/** "/api", "/apis", "/api/v1", "/apis/GROUP", "/apis/GROUP/VERSION"; undefined for other paths. */
export function discover(path: string, accept: string, registry: Registry): Discovered | undefined {
  const parts = path.split("/").filter((part) => part !== "");
  const [root, group, version, ...more] = parts;
  if (more.length > 0 || (root !== "api" && root !== "apis")) return undefined;
  const json = (body: Mapping): Discovered => ({ body, contentType: "application/json" });
  if (group === undefined) {
    const asked = aggregatedVersion(accept);
    if (asked !== undefined) {
      const contentType = `application/json;g=apidiscovery.k8s.io;v=${asked};as=APIGroupDiscoveryList`;
      return { body: aggregated(registry, root === "api", asked), contentType };
    }
    return json(
      root === "api"
        ? { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] }
        : groups(registry),
    );
  }
  if (root === "api") {
    if (version !== undefined) return undefined;
    return json(resourceList(registry, "", group));
  }
  if (version !== undefined) return json(resourceList(registry, group, version));
  const found = namedGroups(registry).find(({ name }) => name === group);
  if (found === undefined) throw noSuchPath();
  return json({ kind: "APIGroup", apiVersion: "v1", ...found });
}

function namedGroups(registry: Registry): Mapping[] {
  return registry
    .groups()
    .filter(({ group }) => group !== "")
    .map(({ group, versions }) => {
      const listed = versions.map((version) => ({ groupVersion: `${group}/${version}`, version }));
      return { name: group, versions: listed, preferredVersion: listed[0] };
    });
}

const groups = (registry: Registry): Mapping => ({
  kind: "APIGroupList",
  apiVersion: "v1",
  groups: namedGroups(registry),
});

function resourceList(registry: Registry, group: string, version: string): Mapping {
  const resources = registry.resourcesOf(group, version);
  if (resources.length === 0) throw noSuchPath();
  return {
    kind: "APIResourceList",
    apiVersion: "v1",
    groupVersion: group === "" ? version : `${group}/${version}`,
    resources: resources.flatMap((r) => [
      {
        name: r.plural,
        singularName: r.singular,
        namespaced: r.namespaced,
        kind: r.kind,
        verbs: verbsOf(r),
        ...(r.shortNames.length === 0 ? {} : { shortNames: r.shortNames }),
        ...(r.categories.length === 0 ? {} : { categories: r.categories }),
      },
      ...subresources(r).map(({ name, kind, verbs = SUBRESOURCE_VERBS }) => ({
        name: `${r.plural}/${name}`,
        singularName: "",
        namespaced: r.namespaced,
        ...kind,
        verbs,
      })),
    ]),
  };
}

interface Subresource {
  readonly name: string;
  readonly kind: Mapping & { kind: string };
  readonly verbs?: readonly string[];
}

/** Which there are, and the kind of each. */
export function subresources(resource: Resource): Subresource[] {
  const own = { kind: resource.kind };
  const actions: Subresource[] = [
    { name: "binding", kind: { kind: "Binding" }, verbs: ["create"] },
    // By its group and version kubectl drain knows that there are evictions.
    { name: "eviction", kind: { group: "policy", version: "v1", kind: "Eviction" }, verbs: ["create"] },
  ];
  return [
    ...(resource === PODS ? actions : []),
    ...(resource.status === false ? [] : [{ name: "status", kind: own }]),
    ...(resource === NAMESPACES ? [{ name: "finalize", kind: own }] : []),
    ...(resource.scale === undefined
      ? []
      : [{ name: "scale", kind: { group: "autoscaling", version: "v1", kind: "Scale" } }]),
  ];
}

function aggregated(registry: Registry, core: boolean, version: string): Mapping {
  return {
    kind: "APIGroupDiscoveryList",
    apiVersion: `apidiscovery.k8s.io/${version}`,
    metadata: {},
    items: registry
      .groups()
      .filter(({ group }) => (group === "") === core)
      .map(({ group, versions }) => ({
        metadata: { name: group, creationTimestamp: null },
        versions: versions.map((v) => ({
          version: v,
          freshness: "Current",
          resources: registry.resourcesOf(group, v).map(aggregatedResource),
        })),
      })),
  };
}

function aggregatedResource(resource: Resource): Mapping {
  const { group, version, kind, plural, singular, shortNames, categories, namespaced } = resource;
  return {
    resource: plural,
    responseKind: { group, version, kind },
    scope: namespaced ? "Namespaced" : "Cluster",
    singularResource: singular,
    verbs: verbsOf(resource),
    ...(shortNames.length === 0 ? {} : { shortNames }),
    ...(categories.length === 0 ? {} : { categories }),
    subresources: subresources(resource).map((sub) => ({
      subresource: sub.name,
      responseKind: { group, version, ...sub.kind },
      verbs: sub.verbs ?? SUBRESOURCE_VERBS,
    })),
  };
}
