/**
 * As much of nft's language as it takes to know which tables, sets, maps and chains a script makes and removes,
 * and which elements it adds. Rules are kept as text.
 */
import { isExists, isNotFound, WeftError } from "@weft/base";
import { hookName } from "../nftables/constants.ts";
import { scriptError } from "../nftables/script.ts";
import type { BaseChain, NftFamily } from "../port.ts";
import {
  changeElements,
  declareSet,
  draftOf,
  type FakeTable,
  outcomeOf,
  setsOf,
  type Tables,
  tableKey,
} from "./ruleset.ts";

interface Statement {
  readonly text: string;
  readonly line: number;
}

const FAMILY = "(?:(inet|arp|ip6|ip|netdev|bridge)\\s+)?";
const NAME = '("?[\\w./-]+"?)';
const ABSENT = "No such file or directory";
const PRIORITIES: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  dstnat: -100,
  filter: 0,
  security: 50,
  srcnat: 100,
};
const BRIDGE_PRIORITIES: Readonly<Record<string, number>> = {
  dstnat: -300,
  filter: -200,
  out: 100,
  srcnat: 300,
};

/** Parts between semicolons or ends of lines that are in no braces. */
function statements(text: string, firstLine: number): Statement[] {
  const found: Statement[] = [];
  let line = firstLine;
  let depth = 0;
  let quoted = false;
  let start = 0;
  let startLine = line;
  const end = (at: number): void => {
    const part = text.slice(start, at);
    const blank = part.length - part.trimStart().length;
    if (part.trim() !== "") {
      const skipped = part.slice(0, blank).split("\n").length - 1;
      found.push({ text: part.trim(), line: startLine + skipped });
    }
    start = at + 1;
    startLine = line;
  };
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '"') quoted = !quoted;
    if (quoted) continue;
    if (c === "\n") line++;
    if (c === "{") depth++;
    if (c === "}") depth--;
    if (depth < 0) throw new Fault(line, "syntax error, unexpected '}'");
    if (depth === 0 && (c === "\n" || c === ";")) end(i);
  }
  if (depth > 0 || quoted) throw new Fault(line, "syntax error, unexpected end of file");
  end(text.length);
  return found;
}

/** What nft would print. */
class Fault extends Error {
  readonly line: number;
  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

const withoutComments = (script: string): string =>
  script
    .replace(/("[^"\n]*")|#[^\n]*/g, (_, quoted: string | undefined) => quoted ?? "")
    .replace(/\\\n/g, "  ");

/** Head and body of `head { body }`. */
function block({ text, line }: Statement): { head: string; body: Statement | undefined } {
  const open = text.indexOf("{");
  if (open < 0) return { head: text, body: undefined };
  const close = text.lastIndexOf("}");
  const before = text.slice(0, open + 1).split("\n").length - 1;
  return {
    head: text.slice(0, open).trim(),
    body: { text: text.slice(open + 1, close), line: line + before },
  };
}

/** The tables after the script. Throws what the real `run` throws; then nothing has changed. */
export function applyScript(tables: Tables, script: string): Tables {
  const draft = draftOf(tables);
  try {
    for (const statement of statements(withoutComments(script), 1)) command(draft, statement);
    checkReferences(draft, script.split("\n").length);
    return draft;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    throw scriptError(`/dev/stdin:${error.line}:1-1: Error: ${error.message}\n`, script);
  }
}

function command(tables: Tables, statement: Statement): void {
  const { head, body } = block(statement);
  const { line } = statement;
  const ruleset = /^flush\s+ruleset\b/.exec(head);
  if (ruleset !== null) {
    tables.clear();
    return;
  }
  const match = new RegExp(
    `^(?:(add|create|delete|destroy|flush|insert)\\s+)?(table|chain|set|map|element|rule)\\s+${FAMILY}${NAME}(?:\\s+${NAME})?`,
  ).exec(head);
  if (match === null) {
    // What neither makes nor removes anything that is kept here.
    if (/^(list|reset|define|include|rename|replace|(add|create|delete|destroy)\s+\w+)\b/.test(head)) return;
    throw new Fault(line, `syntax error, unexpected ${head.split(/\s/)[0] ?? "end of file"}`);
  }
  const [, verb = "add", kind, family = "ip", table = "", name] = match;
  const key = tableKey(family as NftFamily, table);
  if (kind === "table") {
    changeTable(tables, verb, family as NftFamily, table, body, line);
    return;
  }
  const found = tables.get(key);
  if (found === undefined) {
    if (verb === "destroy") return;
    throw new Fault(line, ABSENT);
  }
  if (name === undefined) throw new Fault(line, "syntax error, unexpected newline, expecting string");
  switch (kind) {
    case "chain":
      changeChain(found, verb, name, body, line);
      break;
    case "rule":
      chainOf(found, name, line).rules.push(statement.text.slice(match[0].length).trim());
      break;
    case "element":
      elements(found, name, body?.text ?? "", verb === "create" ? "add" : verb, line);
      break;
    default:
      changeSet(found, verb, name, body, line);
  }
}

function changeTable(
  tables: Tables,
  verb: string,
  family: NftFamily,
  name: string,
  body: Statement | undefined,
  line: number,
): void {
  const key = tableKey(family, name);
  const known = tables.get(key);
  if (known === undefined && (verb === "delete" || verb === "flush")) throw new Fault(line, ABSENT);
  if (verb === "delete" || verb === "destroy") tables.delete(key);
  else if (verb === "flush") for (const chain of known?.chains.values() ?? []) chain.rules = [];
  else {
    if (known !== undefined && verb === "create") throw new Fault(line, "File exists");
    const table = known ?? { family, name, dormant: false, sets: new Map(), chains: new Map() };
    tables.set(key, table);
    for (const part of body === undefined ? [] : statements(body.text, body.line)) tablePart(table, part);
  }
}

function tablePart(table: FakeTable, part: Statement): void {
  const { head, body } = block(part);
  const match = new RegExp(`^(set|map|chain)\\s+${NAME}`).exec(head);
  if (match === null) {
    if (/^flags\s+dormant\b/.test(head)) table.dormant = true;
    return;
  }
  const [, kind, name = ""] = match;
  if (kind === "chain") changeChain(table, "add", name, body, part.line);
  else changeSet(table, "add", name, body, part.line);
}

function changeSet(
  table: FakeTable,
  verb: string,
  name: string,
  body: Statement | undefined,
  line: number,
): void {
  const known = table.sets.get(name);
  if (known === undefined && (verb === "delete" || verb === "flush")) throw new Fault(line, ABSENT);
  if (verb === "delete" || verb === "destroy") {
    const users = [...table.chains.values()].flatMap((chain) => chain.rules.flatMap(setsOf));
    if (users.includes(name)) throw new Fault(line, "Could not process rule: Device or resource busy");
    table.sets.delete(name);
  } else if (verb === "flush" && known !== undefined) {
    known.elements = new Map();
    known.texts = new Set();
    if (known.ranges !== undefined) known.ranges = [];
  } else {
    if (known !== undefined && verb === "create") throw new Fault(line, "File exists");
    if (known === undefined)
      table.sets.set(
        name,
        faulty(line, () => declareSet(body?.text ?? "")),
      );
    const list = /(?:^|[;\n{\s])elements\s*=\s*\{([^}]*)\}/.exec(body?.text ?? "")?.[1];
    if (list !== undefined) elements(table, name, list, "add", line);
  }
}

function elements(table: FakeTable, name: string, list: string, verb: string, line: number): void {
  const set = table.sets.get(name);
  if (set === undefined) throw new Fault(line, ABSENT);
  if (verb !== "add" && verb !== "delete" && verb !== "destroy") {
    throw new Fault(line, "syntax error, unexpected element");
  }
  set.elements = new Map(set.elements);
  set.texts = new Set(set.texts);
  faulty(line, () => changeElements(set, list, verb));
}

function chainOf(table: FakeTable, name: string, line: number) {
  const chain = table.chains.get(name);
  if (chain === undefined) throw new Fault(line, ABSENT);
  return chain;
}

function changeChain(
  table: FakeTable,
  verb: string,
  name: string,
  body: Statement | undefined,
  line: number,
): void {
  if (verb === "flush") {
    chainOf(table, name, line).rules = [];
  } else if (verb === "delete" || verb === "destroy") {
    if (verb === "delete") chainOf(table, name, line);
    const users = [...table.chains].flatMap(([c, chain]) =>
      chain.rules.flatMap((r) => outcomeOf(c, r).jumps),
    );
    if (users.includes(name)) throw new Fault(line, "Could not process rule: Device or resource busy");
    table.chains.delete(name);
  } else {
    const known = table.chains.get(name);
    if (known !== undefined && verb === "create") throw new Fault(line, "File exists");
    const parts = body === undefined ? [] : statements(body.text, body.line);
    const declaration = parts.find((p) => /^type\s/.test(p.text));
    const policy = parts.find((p) => /^policy\s/.test(p.text));
    const base =
      declaration === undefined ? known?.base : baseChain(table, name, declaration, policy?.text ?? "");
    const rules = parts
      .filter((p) => p !== declaration && p !== policy && !/^(comment|flags)\s/.test(p.text))
      .map((p) => p.text);
    table.chains.set(name, { base, rules: [...(known?.rules ?? []), ...rules] });
  }
}

function baseChain(table: FakeTable, name: string, { text, line }: Statement, policy: string): BaseChain {
  const match = /^type\s+(\w+)\s+hook\s+(\w+)\b.*\bpriority\s+(-?\d+|\w+)\s*(?:([+-])\s*(\d+))?/.exec(text);
  if (match === null) throw new Fault(line, "syntax error, unexpected newline");
  const [, type = "", hook = "", base = "", sign, offset = "0"] = match;
  const names = table.family === "bridge" ? BRIDGE_PRIORITIES : PRIORITIES;
  const start = /^-?\d+$/.test(base) ? Number(base) : names[base];
  if (start === undefined || !hooksOf(table.family).includes(hook)) {
    throw new Fault(line, `unknown ${start === undefined ? `priority ${base}` : `chain hook ${hook}`}`);
  }
  return {
    family: table.family,
    table: table.name,
    name,
    type,
    hook,
    priority: start + (sign === "-" ? -Number(offset) : Number(offset)),
    policy: /^policy\s+drop\b/.test(policy) ? "drop" : "accept",
  };
}

function hooksOf(family: NftFamily): string[] {
  const names: string[] = [];
  try {
    for (let number = 0; ; number++) names.push(hookName(family, number));
  } catch {
    return names;
  }
}

/** Every set and chain that a rule names must be there in the end. */
function checkReferences(tables: Tables, line: number): void {
  for (const table of tables.values()) {
    for (const [name, chain] of table.chains) {
      for (const rule of chain.rules) {
        const absent =
          outcomeOf(name, rule).jumps.some((c) => !table.chains.has(c)) ||
          setsOf(rule).some((s) => !table.sets.has(s));
        if (absent) throw new Fault(line, `${ABSENT}: ${rule}`);
      }
    }
  }
}

function faulty<T>(line: number, fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    if (!(error instanceof WeftError)) throw error;
    if (isNotFound(error) || isExists(error)) throw new Fault(line, error.message);
    throw new Fault(line, error.code === "exhausted" ? error.message : `syntax error, ${error.message}`);
  }
}
