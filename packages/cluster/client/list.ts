/** Reading all objects of a path, in pages (Kubernetes documentation, "Retrieving large result sets in chunks"). */
import { hasCode, WeftError } from "@weft/base";
import { isMapping } from "../field.ts";
import type { ApiClient, Query } from "./http.ts";
import { asObject, type KubernetesObject, type Place, pathOf, type Resource } from "./resource.ts";

export interface ListOptions {
  readonly client: ApiClient;
  readonly path: string;
  /** Selectors. */
  readonly query?: Query;
  /** Objects a page, 500 by default. */
  readonly pageSize?: number;
  /** Retries of the first page; the later ones have the client's number, for the sake of those read already. */
  readonly retries?: number;
  readonly signal?: AbortSignal;
}

export interface ListReader {
  /** The list begins, or begins again: forget what came before. */
  begin(): void;
  add(object: KubernetesObject): void;
}

/**
 * Hands every object to `reader`, one page in memory at a time, and resolves to the list's resourceVersion, from
 * which a watch goes on. Pages are of one moment; when that moment is compacted away before the last page, the list
 * begins again, and the third time it is asked for in one piece.
 */
export async function listObjects(options: ListOptions, reader: ListReader): Promise<string> {
  const { pageSize = 500 } = options;
  for (const limit of [pageSize, pageSize, undefined]) {
    reader.begin();
    try {
      return await readPages(options, limit, reader);
    } catch (error) {
      if (limit === undefined || !hasCode(error, "overflow")) throw error;
    }
  }
  throw new WeftError("internal", "a list in one piece has no pages that can expire");
}

/** Every object of a kind at once, for those that are few. `T` is what its reader takes them for; nothing is checked. */
export async function listAll<T extends KubernetesObject = KubernetesObject>(
  client: ApiClient,
  resource: Resource,
  place: Pick<Place, "namespace"> = {},
  query: Query = {},
): Promise<T[]> {
  let found: T[] = [];
  await listObjects(
    { client, path: pathOf(resource, place), query },
    {
      begin: () => {
        found = [];
      },
      add: (object) => void found.push(object as T),
    },
  );
  return found;
}

/** The version that the server's store has come to, of that kind, for the price of one object. */
export async function readVersion({ client, path, query, retries, signal }: ListOptions): Promise<string> {
  const page = await client.request({
    path,
    query: { ...query, limit: 1 },
    ...(retries === undefined ? {} : { retries }),
    ...(signal === undefined ? {} : { signal }),
  });
  return readPage(page, path).version;
}

async function readPages(
  options: ListOptions,
  limit: number | undefined,
  reader: ListReader,
): Promise<string> {
  const { client, path, query, retries, signal } = options;
  let token: string | undefined;
  for (;;) {
    const page = await client.request({
      path,
      query: { ...query, limit, continue: token },
      ...(token !== undefined || retries === undefined ? {} : { retries }),
      ...(signal === undefined ? {} : { signal }),
    });
    const { items, version, next } = readPage(page, path);
    for (const item of items) reader.add(asObject(item));
    if (next === undefined) return version;
    token = next;
  }
}

function readPage(
  page: unknown,
  path: string,
): { items: readonly unknown[]; version: string; next: string | undefined } {
  const list = isMapping(page) ? page : {};
  const metadata = isMapping(list["metadata"]) ? list["metadata"] : {};
  const items = list["items"] ?? [];
  const version = metadata["resourceVersion"];
  if (!Array.isArray(items) || typeof version !== "string" || version === "") {
    throw new WeftError("invalid", `${path}: the answer is no list with a resourceVersion`, {
      object: path,
      hint: "Check that the address is a Kubernetes API server's, and the path that of a collection.",
    });
  }
  const next = metadata["continue"];
  return { items, version, next: typeof next === "string" && next !== "" ? next : undefined };
}
