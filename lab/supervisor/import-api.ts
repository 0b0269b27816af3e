/** Objects of any kind by the API: where they are is asked for (discovery), not known. */
import { hasCode, isNotFound, WeftError } from "@weft/base";
import type { ApiClient, KubernetesObject } from "@weft/cluster/client";

export interface ImportPlace {
  readonly kind: string;
  /** "/apis/apps/v1/namespaces/default/deployments" */
  readonly collection: string;
  readonly name: string;
  readonly namespace: string | undefined;
}

interface Served {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

type Value = Readonly<Record<string, unknown>>;
/** Fields that nobody knows are named by whoever reads the manifests. */
const LENIENT = { fieldValidation: "Ignore" } as const;

export class ImportApi {
  readonly #client: ApiClient;
  /** By apiVersion. */
  readonly #served = new Map<string, readonly Served[]>();

  constructor(client: ApiClient) {
    this.#client = client;
  }

  /** Throws "unsupported" for a kind that the server does not have. */
  async placeOf(value: Value): Promise<ImportPlace> {
    const { apiVersion, kind } = value as { apiVersion: string; kind: string };
    const { name, namespace = "default" } = value["metadata"] as { name: string; namespace?: string };
    const found = (await this.#resources(apiVersion)).find((r) => r.kind === kind);
    if (found === undefined) {
      this.#served.delete(apiVersion);
      throw new WeftError("unsupported", `the lab's API server has no kind ${kind} of ${apiVersion}`, {
        object: `${kind} ${name}`,
        hint: "kubectl api-resources lists what it has; a CustomResourceDefinition adds to it.",
      });
    }
    const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    return {
      kind,
      name,
      namespace: found.namespaced ? namespace : undefined,
      collection: found.namespaced
        ? `${root}/namespaces/${encodeURIComponent(namespace)}/${found.name}`
        : `${root}/${found.name}`,
    };
  }

  async get(place: ImportPlace): Promise<KubernetesObject | undefined> {
    try {
      return await this.#client.request<KubernetesObject>({ path: pathOf(place) });
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  /** The new object's uid. A namespace that is not there is made. */
  async create(place: ImportPlace, value: Value): Promise<string> {
    const create = async (): Promise<string> => {
      const { collection: path } = place;
      const made = await this.#client.request<KubernetesObject>({
        method: "POST",
        path,
        query: LENIENT,
        body: bare(value),
      });
      return made.metadata.uid ?? "";
    };
    try {
      return await create();
    } catch (error) {
      if (!isNotFound(error) || place.namespace === undefined) throw error;
      await this.#makeNamespace(place.namespace);
      return await create();
    }
  }

  async patch(place: ImportPlace, patch: object): Promise<void> {
    await this.#client.request({
      method: "PATCH",
      path: pathOf(place),
      query: LENIENT,
      body: patch,
      contentType: "application/merge-patch+json",
      idempotent: true,
    });
  }

  /** Throws what the server would refuse of a new object; that there is one already is no fault. */
  async check(place: ImportPlace, value: object): Promise<void> {
    try {
      await this.#client.request({
        method: "POST",
        path: place.collection,
        query: { ...LENIENT, dryRun: "All" },
        body: bare(value as Value),
      });
    } catch (error) {
      if (!hasCode(error, "exists")) throw error;
    }
  }

  /** Only the object with that uid: another one of its name stays. */
  async remove(place: ImportPlace, uid: string): Promise<void> {
    try {
      await this.#client.request({
        method: "DELETE",
        path: pathOf(place),
        body: {
          apiVersion: "v1",
          kind: "DeleteOptions",
          preconditions: uid === "" ? {} : { uid },
          propagationPolicy: "Background",
        },
        idempotent: true,
      });
    } catch (error) {
      if (!isNotFound(error) && !hasCode(error, "conflict")) throw error;
    }
  }

  async #resources(apiVersion: string): Promise<readonly Served[]> {
    const known = this.#served.get(apiVersion);
    if (known !== undefined) return known;
    const path = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    try {
      const { resources } = await this.#client.request<{ resources: readonly Served[] }>({ path });
      const served = resources.filter(({ name }) => !name.includes("/"));
      this.#served.set(apiVersion, served);
      return served;
    } catch (error) {
      if (isNotFound(error)) return [];
      throw error;
    }
  }

  async #makeNamespace(name: string): Promise<void> {
    try {
      await this.#client.request({
        method: "POST",
        path: "/api/v1/namespaces",
        body: { apiVersion: "v1", kind: "Namespace", metadata: { name } },
      });
    } catch (error) {
      if (!hasCode(error, "exists")) throw error;
    }
  }
}

const pathOf = ({ collection, name }: ImportPlace): string => `${collection}/${encodeURIComponent(name)}`;

/** What a server says of an object: a manifest may have been written down from one. */
const SERVERS_OWN: readonly string[] = [
  "uid",
  "resourceVersion",
  "generation",
  "selfLink",
  "managedFields",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
];

/** The object without what is not for a client to say. */
export function bare({ status: _, ...value }: Value): Value {
  const metadata = Object.entries(value["metadata"] as Value).filter(
    ([field]) => !SERVERS_OWN.includes(field),
  );
  return { ...value, metadata: Object.fromEntries(metadata) };
}
