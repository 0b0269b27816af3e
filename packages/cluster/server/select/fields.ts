/** Field selectors: "metadata.name=web,status.phase!=Running" (Kubernetes documentation, "Field Selectors"). */
import { badRequest } from "../errors.ts";
import { type ApiObject, at } from "../values.ts";

export type FieldSelector = (object: ApiObject) => boolean;

/** Fields beside metadata.name and metadata.namespace, with what an absent one counts as. */
export type SelectableFields = Readonly<Record<string, string>>;

export interface ParsedFields {
  readonly matches: FieldSelector;
  /** The only name that can match, when the selector names one. */
  readonly name: string | undefined;
  /** What the JSON of each object that matches has in it: to look for that takes far less than to parse it. */
  readonly texts: readonly string[];
}

/** Undefined for a text that selects everything. Throws 400 for fields that cannot be selected by. */
export function parseFieldSelector(text: string, fields: SelectableFields): ParsedFields | undefined {
  const terms = text.split(/(?<!\\),/).filter((term) => term.trim() !== "");
  if (terms.length === 0) return undefined;
  const tests = terms.map((term) => {
    const found = /^([^=!]+)(==|=|!=)(.*)$/s.exec(term.trim());
    if (found === null) throw badRequest(`invalid selector: '${text}'; can't understand '${term}'`);
    const [, field = "", sign, escaped = ""] = found;
    if (!/^metadata\.(name|namespace)$/.test(field) && !Object.hasOwn(fields, field)) {
      throw badRequest(`field label not supported: ${field}`);
    }
    return { field, equal: sign !== "!=", wanted: escaped.replace(/\\(.)/gs, "$1") };
  });
  const needed = tests.filter(
    ({ field, equal, wanted }) => equal && wanted !== "" && (fields[field] ?? "") !== wanted,
  );
  return {
    // Without its quotes: it may be a number or a boolean.
    texts: needed.map(({ wanted }) => JSON.stringify(wanted).slice(1, -1)),
    name: tests.find(({ field, equal }) => field === "metadata.name" && equal)?.wanted,
    matches: (object) =>
      tests.every(
        ({ field, equal, wanted }) => (selectableValue(object, field, fields) === wanted) === equal,
      ),
  };
}

function selectableValue(object: ApiObject, field: string, fields: SelectableFields): string {
  const value = at(object, ...field.split("."));
  return value === undefined || value === null ? (fields[field] ?? "") : String(value);
}
