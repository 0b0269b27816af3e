/**
 * Renders the chart, for tests: just as much of Go's templates and Helm's functions as the chart uses. Anything else in
 * a template is an error, so that a chart which this cannot render is noticed.
 */
import { parse, stringify } from "yaml";

type Values = Readonly<Record<string, unknown>>;

/** What an install of the chart makes: definitions as they are, then all templates with `values` over the chart's own. */
export function renderChart(
  files: Readonly<Record<string, string>>,
  values: Values,
  namespace: string,
): string {
  const merged = merge(parse(files["values.yaml"] as string) as Values, values);
  const scope: Values = { Values: merged, Release: { Namespace: namespace } };
  const below = (directory: string): string[] =>
    Object.entries(files).flatMap(([path, text]) => (path.startsWith(directory) ? [text] : []));
  return [...below("crds/"), ...below("templates/").map((text) => render(text, scope))].join("\n");
}

function merge(base: Values, over: Values): Values {
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const before = result[key];
    const both = [before, value].every((v) => typeof v === "object" && v !== null && !Array.isArray(v));
    result[key] = both ? merge(before as Values, value as Values) : value;
  }
  return result;
}

function render(text: string, scope: Values): string {
  const lines: string[] = [];
  const shown: boolean[] = [];
  for (const line of text.split("\n")) {
    const condition = /^\{\{- if (\S+) \}\}$/.exec(line);
    if (condition !== null) shown.push(Boolean(lookUp(condition[1] as string, scope)));
    else if (line === "{{- end }}") shown.pop();
    else if (shown.every(Boolean))
      lines.push(line.replaceAll(/\{\{ (.*?) \}\}/g, (_, e) => evaluate(e, scope)));
  }
  if (shown.length > 0) throw new Error("an if without an end");
  const result = lines.join("\n");
  if (result.includes("{{")) throw new Error(`not rendered: ${result}`);
  return result;
}

function evaluate(expression: string, scope: Values): string {
  const [first = "", ...functions] = expression.split(" | ");
  const [word, argument] = first.split(" ");
  let value: unknown =
    word === "toYaml" ? stringify(lookUp(argument as string, scope)).trimEnd() : lookUp(first, scope);
  for (const name of functions) {
    const indent = /^indent (\d+)$/.exec(name);
    if (name === "quote") value = JSON.stringify(String(value));
    else if (indent !== null) value = String(value).replaceAll(/^/gm, " ".repeat(Number(indent[1])));
    else throw new Error(`unknown function ${name}`);
  }
  return String(value);
}

function lookUp(path: string, scope: Values): unknown {
  if (!/^(\.[A-Za-z]+)+$/.test(path)) throw new Error(`cannot look up ${path}`);
  return path
    .split(".")
    .slice(1)
    .reduce<unknown>((at, key) => (at as Values | undefined)?.[key], scope);
}
