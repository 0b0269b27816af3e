/**
 * Strategic merge patches: a merge patch that knows which lists are sets or are keyed, and directives for the rest
 * (Kubernetes documentation, "Update API Objects in Place Using kubectl patch"; the directives are specified in
 * sig-api-machinery's strategic-merge-patch.md).
 *
 *   $patch: replace | delete | merge     of a mapping, or as an item of a list
 *   $retainKeys: [a, b]                  what else the mapping has is removed
 *   $deleteFromPrimitiveList/FIELD       values that leave the list FIELD
 *   $setElementOrder/FIELD               the order of the list FIELD
 */
import { badRequest } from "../errors.ts";
import { type ListMerge, listMerge } from "../schema/merge-keys.ts";
import { clone, equal, isMap, items, type Mapping } from "../values.ts";
import { type FieldType, fieldTypes } from "./field-types.ts";

const DIRECTIVE = /^\$(deleteFromPrimitiveList|setElementOrder)\//;

/** The object that results; `model` names the type of the object ("V1Pod"). Throws 400. */
export function strategicMerge(object: Mapping, patch: Mapping, model: string | undefined): Mapping {
  const result = mergeMapping(object, patch, model);
  return result === undefined ? {} : result;
}

/** Undefined when the patch removes it. */
function mergeMapping(held: Mapping, patch: Mapping, model: string | undefined): Mapping | undefined {
  const directive = patch["$patch"];
  if (directive === "delete") return undefined;
  if (directive === "replace") return withoutDirectives(patch);
  if (directive !== undefined && directive !== "merge") {
    throw badRequest(`unknown $patch directive: ${JSON.stringify(directive)}`);
  }
  const result: Mapping = { ...held };
  const retained = patch["$retainKeys"];
  if (retained !== undefined) {
    if (!Array.isArray(retained)) throw badRequest("$retainKeys must be a list");
    for (const field of Object.keys(result)) if (!retained.includes(field)) delete result[field];
  }
  const types = fieldTypes(model);
  for (const [field, value] of Object.entries(patch)) {
    if (field === "$patch" || field === "$retainKeys" || DIRECTIVE.test(field)) continue;
    const before = Object.hasOwn(result, field) ? result[field] : undefined;
    const merged = mergeField(before, value, types(field), listMerge(model, field));
    if (merged === undefined) delete result[field];
    else {
      // Defined, not assigned: "__proto__" is a name like any other.
      Object.defineProperty(result, field, {
        value: merged,
        enumerable: true,
        configurable: true,
        writable: true,
      });
    }
  }
  for (const [directive, value] of Object.entries(patch)) {
    if (!DIRECTIVE.test(directive)) continue;
    if (!Array.isArray(value)) throw badRequest(`${directive} must be a list`);
    const field = directive.slice(directive.indexOf("/") + 1);
    const list = result[field];
    if (!Array.isArray(list)) continue;
    result[field] = directive.startsWith("$delete")
      ? list.filter((item) => !value.some((gone) => equal(gone, item)))
      : arranged(list, value, items(held[field]), listMerge(model, field));
  }
  return result;
}

function mergeField(held: unknown, value: unknown, type: FieldType, merge: ListMerge): unknown {
  if (value === null || value === undefined) return undefined;
  if (isMap(value)) return mergeMapping(isMap(held) ? held : {}, value, type.model);
  if (!Array.isArray(value)) return value;
  if (merge === "replace") return value.map(withoutDirectives);
  const list = items(held);
  if (merge === "set") {
    const added = value.filter((item) => !list.some((known) => equal(known, item)));
    return arranged([...list, ...added], value, list, merge);
  }
  return arranged(mergeList(list, value, merge.by, type.model), value, list, merge);
}

function mergeList(
  list: readonly unknown[],
  patch: readonly unknown[],
  by: string,
  model?: string,
): unknown[] {
  const [directives, changes] = split(patch);
  if (directives.some((item) => item["$patch"] === "replace" && item[by] === undefined)) {
    return changes.map(withoutDirectives);
  }
  const gone = directives.filter((item) => item["$patch"] === "delete");
  const result = list.filter((item) => !gone.some((g) => isMap(item) && equal(item[by], g[by])));
  for (const change of changes) {
    if (!isMap(change) || change[by] === undefined) {
      throw badRequest(`map: ${JSON.stringify(change)} does not contain declared merge key: ${by}`);
    }
    const place = result.findIndex((item) => isMap(item) && equal(item[by], change[by]));
    if (place < 0) result.push(withoutDirectives(change));
    else result[place] = mergeMapping(result[place] as Mapping, change, model) ?? {};
  }
  return result;
}

/** Items that say what to do with the list or an item, and those that are content. */
function split(patch: readonly unknown[]): [Mapping[], unknown[]] {
  const isDirective = (item: unknown): item is Mapping =>
    isMap(item) && (item["$patch"] === "delete" || item["$patch"] === "replace");
  const directives = patch.filter(isDirective);
  const whole = directives.filter((item) => item["$patch"] === "replace" && Object.keys(item).length > 1);
  return [directives, [...patch.filter((item) => !isDirective(item)), ...whole]];
}

/**
 * The items that `wanted` names in its order, all others in that of the list before; where the two meet, an item that
 * stood before the other one stays there, and what is new comes first.
 */
function arranged(
  list: readonly unknown[],
  wanted: readonly unknown[],
  before: readonly unknown[],
  merge: ListMerge,
): unknown[] {
  const by = typeof merge === "object" ? merge.by : undefined;
  const rankIn = (order: readonly unknown[], item: unknown): number =>
    order.findIndex((o) =>
      by === undefined ? equal(o, item) : isMap(o) && isMap(item) && equal(o[by], item[by]),
    );
  const named = list.filter((item) => rankIn(wanted, item) >= 0);
  named.sort((a, b) => rankIn(wanted, a) - rankIn(wanted, b));
  const others = list.filter((item) => rankIn(wanted, item) < 0);
  const result: unknown[] = [];
  while (named.length > 0 && others.length > 0) {
    const [one, other] = [rankIn(before, named[0]), rankIn(before, others[0])];
    result.push(one >= 0 && other >= 0 && other < one ? others.shift() : named.shift());
  }
  return [...result, ...named, ...others];
}

function withoutDirectives(value: unknown): Mapping {
  if (Array.isArray(value)) return value.map(withoutDirectives) as unknown as Mapping;
  if (!isMap(value)) return value as Mapping;
  const kept = Object.entries(value).filter(
    ([field, inner]) =>
      inner !== null && field !== "$patch" && field !== "$retainKeys" && !DIRECTIVE.test(field),
  );
  return Object.fromEntries(kept.map(([field, inner]) => [field, withoutDirectives(clone(inner))]));
}
