/**
 * The simple JSON paths of custom resources' columns and of scale: ".spec.size", ".status.conditions[?(@.type=='Ready')].status",
 * ".spec.ports[*].port", ".metadata.labels['a.b/c']".
 */
import { WeftError } from "@weft/base";
import { equal, isMap, items } from "../values.ts";

type Step = (value: unknown) => readonly unknown[];
export type JsonPath = (object: unknown) => readonly unknown[];

const STEP =
  /^(?:\.((?:[^.[\]\\]|\\.)+)|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]|\[(-?\d+)\]|\[\*\]|(\.\*)|\[\?\(\s*@((?:\.[\w-]+)+)\s*(==|!=)\s*(?:'([^']*)'|"([^"]*)"|(-?[\d.]+|true|false))\s*\)\])/;

/** Throws "invalid". */
export function parseJsonPath(text: string): JsonPath {
  const steps: Step[] = [];
  let rest = text.replace(/^\{(.*)\}$/, "$1").replace(/^\$/, "");
  if (rest === "" || !/^[.[]/.test(rest)) throw wrong(text);
  while (rest !== "" && rest !== ".") {
    const found = STEP.exec(rest);
    if (found === null) throw wrong(text);
    steps.push(stepOf(found));
    rest = rest.slice(found[0].length);
  }
  return (object) => steps.reduce<readonly unknown[]>((values, step) => values.flatMap(step), [object]);
}

function stepOf(found: RegExpExecArray): Step {
  const [whole, dotted, single, double, index, , path, sign, a, b, plain] = found;
  const field = dotted ?? single ?? double;
  if (field !== undefined) {
    const name = field.replace(/\\(.)/g, "$1");
    return (value) => (isMap(value) && Object.hasOwn(value, name) ? [value[name]] : []);
  }
  if (index !== undefined) return (value) => items(items(value).slice(Number(index))).slice(0, 1);
  if (path === undefined) return (value) => (isMap(value) ? Object.values(value) : items(value));
  const inner = parseJsonPath(path);
  const wanted = a ?? b ?? JSON.parse(plain ?? whole);
  return (value) => items(value).filter((item) => equal(inner(item)[0], wanted) === (sign === "=="));
}

const wrong = (text: string): WeftError =>
  new WeftError("invalid", `${JSON.stringify(text)} is no JSON path`);
