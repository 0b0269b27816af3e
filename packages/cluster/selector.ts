/** LabelSelector (meta/v1) into terms, all of which must hold, and whether labels match. */
import type { Selector, SelectorTerm } from "@weft/model";
import type { Field } from "./field.ts";
import { labelKeyFault, labelValueFault } from "./names.ts";
import { unsupported } from "./node.ts";
import { type Notes, noteOthers } from "./unhonoured.ts";

const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"] as const;

/** Absent and empty are the same here: everything matches. */
export function readSelector(field: Field, notes: Notes): Selector {
  noteOthers(field, ["matchLabels", "matchExpressions"], [], notes);
  const labels = field.at("matchLabels");
  const plain = labels.keys().map((key): SelectorTerm => {
    checkKey(labels.at(key), key);
    return { key, operator: "In", values: [labels.at(key).optionalString(labelValueFault) ?? ""] };
  });
  const expressions = field
    .at("matchExpressions")
    .items()
    .flatMap((item) => readExpression(item, notes) ?? []);
  return [...plain, ...expressions];
}

function readExpression(field: Field, notes: Notes): SelectorTerm | undefined {
  noteOthers(field, ["key", "operator", "values"], [], notes);
  const key = field.at("key").requiredString();
  if (key !== undefined) checkKey(field.at("key"), key);
  const given = field.at("operator").requiredString();
  const operator = OPERATORS.find((o) => o === given);
  if (given !== undefined && operator === undefined)
    field.at("operator").fault(unsupported(given, OPERATORS));
  const list = field.at("values");
  const values = list.items().map((item) => item.optionalString(labelValueFault) ?? "");
  if (key === undefined || operator === undefined) return undefined;
  const needsValues = operator === "In" || operator === "NotIn";
  if (needsValues && values.length === 0) list.required(`must be given with operator ${operator}`);
  if (!needsValues && values.length > 0) list.fault(`Forbidden: may not be given with operator ${operator}`);
  return { key, operator, values };
}

function checkKey(field: Field, key: string): void {
  const why = labelKeyFault(key);
  if (why !== undefined) field.fault(`Invalid value: ${JSON.stringify(key)}: ${why}`);
}
