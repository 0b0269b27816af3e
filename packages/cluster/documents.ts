/**
 * Manifest text into documents.
 *
 * YAML 1.2 (JSON is a part of it) with the words yes, no, on and off as booleans, as kubectl reads them.
 * The text is cut at its `---` lines before anything is parsed: YAML forbids such a line inside any scalar
 * (YAML 1.2 section 9.1.2), so a document that is broken cannot take the next one with it.
 *
 * Limits, because a parser's time can grow faster than its input: 4 MiB of text, 200 aliases a document and
 * 100 expansions of each (the "billion laughs"), 200 levels of brackets, 50 explicit keys ("? key").
 */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  type ScalarTag,
  visit,
} from "yaml";

export const MAX_TEXT = 4 * 1024 * 1024;
const MAX_ALIASES = 200;
const MAX_BRACKETS = 200;
const MAX_EXPLICIT_KEYS = 50;

export type Path = readonly (string | number)[];

export interface TextFault {
  /** From 1. */
  readonly line: number;
  readonly message: string;
}

export interface ParsedDocument {
  readonly value: unknown;
  /** Line of the key or item at that path, or of what is nearest to it. */
  lineOf(path: Path): number;
}

export interface Documents {
  readonly documents: readonly ParsedDocument[];
  readonly warnings: readonly TextFault[];
  readonly errors: readonly TextFault[];
}

/** Every document of a text that has a content; each broken one gives an error with its line instead. */
export function readDocuments(text: string): Documents {
  const documents: ParsedDocument[] = [];
  const warnings: TextFault[] = [];
  const errors: TextFault[] = [];
  if (Buffer.byteLength(text) > MAX_TEXT) {
    return { documents, warnings, errors: [{ line: 1, message: tooLarge(Buffer.byteLength(text)) }] };
  }
  for (const part of splitDocuments(text)) {
    try {
      refuseCostly(part.text);
      parsePart(part, documents, warnings, errors);
    } catch (error) {
      errors.push({ line: part.line, message: (error as Error).message });
    }
  }
  return { documents, warnings, errors };
}

export const tooLarge = (bytes: number): string => `${bytes} bytes, more than the ${MAX_TEXT} that are read`;

interface Part {
  readonly text: string;
  /** Line that the part starts on, from 1. */
  readonly line: number;
}

function splitDocuments(text: string): Part[] {
  const parts: Part[] = [];
  let lines: string[] = [];
  let start = 1;
  text.split("\n").forEach((line, i) => {
    // What precedes the first `---` may be only its directives and comments: they belong to what follows.
    if (/^---(\s|$)/.test(line) && !lines.every((l) => /^\s*([%#].*)?$/.test(l))) {
      parts.push({ text: `${lines.join("\n")}\n`, line: start });
      lines = [];
      start = i + 1;
    }
    lines.push(line);
  });
  parts.push({ text: lines.join("\n"), line: start });
  return parts;
}

function parsePart(
  part: Part,
  documents: ParsedDocument[],
  warnings: TextFault[],
  errors: TextFault[],
): void {
  const counter = new LineCounter();
  const lineAt = (offset: number): number => part.line - 1 + Math.max(1, counter.linePos(offset).line);
  const parsed = parseAllDocuments(part.text, {
    lineCounter: counter,
    customTags: (tags) => [booleanWords, ...tags],
    stringKeys: true,
    merge: true,
    prettyErrors: false,
    logLevel: "error",
    // The parser's own check compares every key with every other; faultOf is linear.
    uniqueKeys: false,
  });
  for (const document of Array.isArray(parsed) ? parsed : []) {
    for (const w of document.warnings) warnings.push({ line: lineAt(w.pos[0]), message: w.message });
    // Those after the first are mostly its consequences.
    const error = document.errors[0] ?? faultOf(document);
    if (error !== undefined) {
      errors.push({ line: lineAt(error.pos[0]), message: error.message });
      continue;
    }
    const value: unknown = document.toJS({ maxAliasCount: 100 });
    if (value === null || value === undefined) continue;
    documents.push({ value, lineOf: (path) => lineAt(offsetOf(document, path)) });
  }
}

/** Throws on text that is cheap to write and very expensive to parse; no manifest comes near these limits. */
function refuseCostly(text: string): void {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === "[" || c === "{") depth++;
    else if ((c === "]" || c === "}") && depth > 0) depth--;
    if (depth > MAX_BRACKETS) throw new Error(`more than ${MAX_BRACKETS} nested brackets`);
  }
  let keys = 0;
  for (const [indicators] of text.matchAll(/^[ \t?:-]*\?(?=\s)|^[ \t?:-]*\?$/gm)) {
    keys += indicators.split("?").length - 1;
    if (keys > MAX_EXPLICIT_KEYS) throw new Error(`more than ${MAX_EXPLICIT_KEYS} explicit keys ("? key")`);
  }
}

/** What the parser does not look at, or only slowly: aliases, and keys that are there twice. */
function faultOf(document: Document): { pos: [number, number]; message: string } | undefined {
  let found: { pos: [number, number]; message: string } | undefined;
  let aliases = 0;
  visit(document, {
    Alias(_, node) {
      if (++aliases > MAX_ALIASES)
        found = { pos: positionOf(node), message: `more than ${MAX_ALIASES} aliases` };
      else if (node.resolve(document) === undefined) {
        found = { pos: positionOf(node), message: `there is no anchor &${node.source} before this alias` };
      }
      return found === undefined ? undefined : visit.BREAK;
    },
    Map(_, map) {
      const seen = new Set<unknown>();
      for (const { key } of map.items) {
        if (!isScalar(key) || key.value === "<<") continue;
        if (seen.has(key.value)) {
          found = { pos: positionOf(key), message: `the key "${String(key.value)}" is there twice` };
          return visit.BREAK;
        }
        seen.add(key.value);
      }
      return undefined;
    },
  });
  return found;
}

const positionOf = (node: Node): [number, number] => [node.range?.[0] ?? 0, node.range?.[1] ?? 0];

function offsetOf(document: Document, path: Path): number {
  let node: unknown = document.contents;
  let offset = document.contents?.range?.[0] ?? 0;
  for (const step of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find((p) => isScalar(p.key) && p.key.value === step);
      if (pair === undefined) break;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof step === "number" && node.items[step] !== undefined) {
      node = node.items[step];
      offset = (node as Node).range?.[0] ?? offset;
    } else break;
  }
  return offset;
}

const booleanWords: ScalarTag = {
  tag: "tag:yaml.org,2002:bool",
  default: true,
  test: /^(?:yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$/,
  resolve: (text) => /^(yes|on)$/i.test(text),
};
