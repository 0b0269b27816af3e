/**
 * Lists (Kubernetes API concepts, "Retrieving large results sets in chunks" and "Resource versions"). A list is of one
 * moment: that of its first page. Later pages are read from history, and 410 says when that is gone.
 */
import { badRequest, expired, Failure } from "../errors.ts";
import { apiVersionOf, type Resource } from "../resource.ts";
import type { Range, Store, Stored } from "../storage/store.ts";
import { partial, tableOf } from "../table/table.ts";
import type { ApiObject, Mapping } from "../values.ts";
import { checkMatch } from "./match.ts";
import type { Target } from "./path.ts";
import { isSelected, type Selection, type View, viewed } from "./view.ts";

interface Token {
  readonly revision: number;
  readonly after: string;
}

const encodeToken = ({ revision, after }: Token): string =>
  Buffer.from(JSON.stringify({ v: "weft/v1", rv: revision, start: after })).toString("base64url");

function decodeToken(text: string): Token {
  try {
    const { v, rv, start } = JSON.parse(Buffer.from(text, "base64url").toString()) as Mapping;
    if (v === "weft/v1" && Number.isSafeInteger(rv) && typeof start === "string") {
      return { revision: rv as number, after: start };
    }
  } catch {
    // Said below.
  }
  throw badRequest("continue key is not valid: it must be what an earlier page of this list gave");
}

/** Decimal revision of a query, "" and absent alike undefined. Throws 400. */
export function revisionOf(query: URLSearchParams): number | undefined {
  const given = query.get("resourceVersion") ?? "";
  if (given === "") return undefined;
  if (!/^\d{1,15}$/.test(given)) {
    throw badRequest(`Invalid value: ${JSON.stringify(given)}: resourceVersion must be a number`);
  }
  return Number(given);
}

/** A client knows of changes that have not happened: it was another server, or another file. */
export function refuseFuture(asked: number | undefined, current: number): void {
  if (asked === undefined || asked <= current) return;
  const details = {
    causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
    retryAfterSeconds: 1,
  };
  const message = `Too large resource version: ${asked}, current: ${current}`;
  throw new Failure("timeout", 504, "Timeout", message, details);
}

export interface ListPage {
  readonly stored: readonly Stored[];
  readonly revision: number;
  readonly token: string | undefined;
}

/** Objects are gathered page by page; other requests get their turn in between. */
export async function listPage(
  store: Store,
  { resource, namespace }: Target,
  selection: Selection,
  query: URLSearchParams,
): Promise<ListPage> {
  checkMatch(query, false);
  const given = query.get("continue") ?? "";
  const token = given === "" ? undefined : decodeToken(given);
  const asked = revisionOf(query);
  if (token === undefined) refuseFuture(asked, store.revision);
  const exact = query.get("resourceVersionMatch") === "Exact" ? asked : undefined;
  const revision = token?.revision ?? exact ?? store.revision;
  const limit = limitOf(query);
  const range: Range = {
    prefix: namespace === undefined ? "" : `${namespace}/`,
    ...(token === undefined ? {} : { after: token.after }),
  };
  if (revision < store.compacted) throw goneToken(token !== undefined);
  const found: Stored[] = [];
  const size = Math.min(500, selection.matches === undefined && limit > 0 ? limit + 1 : 500);
  for (const page of store.pages(resource.storage, range, revision, size)) {
    for (const item of page) {
      if (!selected(item, selection)) continue;
      if (limit > 0 && found.length === limit) {
        const after = found.at(-1)?.key ?? "";
        return { stored: found, revision, token: encodeToken({ revision, after }) };
      }
      found.push(item);
    }
    if (page.length === size) await new Promise((done) => setImmediate(done));
  }
  return { stored: found, revision, token: undefined };
}

function selected({ key, value }: Stored, selection: Selection): boolean {
  const { name } = selection;
  if (name !== undefined && key !== name && !key.endsWith(`/${name}`)) return false;
  return isSelected(value, selection);
}

function limitOf(query: URLSearchParams): number {
  const given = query.get("limit") ?? "0";
  if (!/^\d{1,9}$/.test(given)) throw badRequest(`limit must be a number, not ${JSON.stringify(given)}`);
  return Number(given);
}

const goneToken = (paged: boolean): Failure =>
  expired(
    paged
      ? "The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter."
      : "The provided resource version is too old.",
  );

/** The whole list in JSON. */
export function encodeList(
  resource: Resource,
  { stored, revision, token }: ListPage,
  view: View,
  now: number,
): string {
  const metadata: Mapping = {
    resourceVersion: String(revision),
    ...(token === undefined ? {} : { continue: token }),
  };
  const plain = view.form === "json" || view.form === "yaml";
  if (plain && resource.fromStored === undefined) {
    return listText(
      `${resource.kind}List`,
      apiVersionOf(resource),
      metadata,
      stored.map(({ value }) => value),
    );
  }
  const objects = stored.map(({ value }) => viewed(resource, JSON.parse(value) as ApiObject));
  if (view.form === "table")
    return JSON.stringify(tableOf(resource, objects, metadata, { include: view.include, now }));
  const items = view.form === "partial" ? objects.map(partial) : objects;
  const kind = view.form === "partial" ? "PartialObjectMetadataList" : `${resource.kind}List`;
  const apiVersion = view.form === "partial" ? "meta.k8s.io/v1" : apiVersionOf(resource);
  return listText(
    kind,
    apiVersion,
    metadata,
    items.map((item) => JSON.stringify(item)),
  );
}

function listText(kind: string, apiVersion: string, metadata: Mapping, items: readonly string[]): string {
  const head = JSON.stringify({ kind, apiVersion, metadata });
  return `${head.slice(0, -1)},"items":[${items.join(",")}]}`;
}
