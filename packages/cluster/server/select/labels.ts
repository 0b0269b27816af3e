/** Label selectors as texts: "app=web,tier in (a, b),!old" (Kubernetes documentation, "Labels and Selectors"). */
import { labelKeyFault, labelValueFault } from "../../names.ts";
import { badRequest } from "../errors.ts";

type Labels = Readonly<Record<string, string>>;
export type LabelSelector = (labels: Labels | undefined) => boolean;

interface Requirement {
  readonly key: string;
  readonly operator: "in" | "notin" | "exists" | "!" | ">" | "<";
  readonly values: readonly string[];
}

/** Splits at commas outside of parentheses. */
const TERMS = /(?:[^,()]|\([^()]*\))+/g;
const SET = /^([^\s!=(),]+)\s+(in|notin)\s*\(([^()]*)\)$/;
const EQUAL = /^([^\s!=(),<>]+)\s*(==|=|!=|>|<)\s*([^\s!=(),<>]*)$/;
const EXISTS = /^(!?)\s*([^\s!=(),<>]+)$/;

/** Undefined for a text that selects everything. Throws 400. */
export function parseLabelSelector(text: string): LabelSelector | undefined {
  if (text.trim() === "") return undefined;
  const terms = text.match(TERMS) ?? [];
  if (terms.join(",") !== text) throw unparsable(text, "found ','");
  const requirements = terms.map((term) => requirement(term.trim(), text));
  return (labels) => requirements.every((r) => holds(r, labels ?? {}));
}

function requirement(term: string, whole: string): Requirement {
  const set = SET.exec(term);
  if (set !== null) {
    const [, key = "", operator, list = ""] = set;
    return checked({ key, operator: operator as "in", values: list.split(",").map((v) => v.trim()) }, whole);
  }
  const equal = EQUAL.exec(term);
  if (equal !== null) {
    const [, key = "", sign = "", value = ""] = equal;
    const operator = sign === "!=" ? "notin" : sign === ">" || sign === "<" ? sign : "in";
    if ((operator === ">" || operator === "<") && !/^-?\d+$/.test(value)) {
      throw unparsable(
        whole,
        `values[0][${key}]: Invalid value: "${value}": for 'Gt', 'Lt' operators, the value must be an integer`,
      );
    }
    return checked({ key, operator, values: [value] }, whole);
  }
  const exists = EXISTS.exec(term);
  if (exists !== null) {
    const [, not, key = ""] = exists;
    return checked({ key, operator: not === "!" ? "!" : "exists", values: [] }, whole);
  }
  throw unparsable(whole, `found '${term}'`);
}

function checked(r: Requirement, whole: string): Requirement {
  const key = labelKeyFault(r.key);
  if (key !== undefined) throw unparsable(whole, `key: Invalid value: ${JSON.stringify(r.key)}: ${key}`);
  for (const [i, value] of r.values.entries()) {
    const why = labelValueFault(value);
    if (why === undefined) continue;
    throw unparsable(whole, `values[${i}][${r.key}]: Invalid value: ${JSON.stringify(value)}: ${why}`);
  }
  return r;
}

function holds({ key, operator, values }: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  if (operator === "exists") return value !== undefined;
  if (operator === "!") return value === undefined;
  // As in Kubernetes, "not in" also holds for what has no such label.
  if (operator === "notin") return value === undefined || !values.includes(value);
  if (value === undefined) return false;
  if (operator === "in") return values.includes(value);
  if (!/^-?\d+$/.test(value)) return false;
  return operator === ">" ? Number(value) > Number(values[0]) : Number(value) < Number(values[0]);
}

const unparsable = (text: string, why: string) =>
  badRequest(`unable to parse requirement: ${why} in the label selector ${JSON.stringify(text)}`);
