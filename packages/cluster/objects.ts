/** The objects of one file, each with its rows or its faults. */
import { shownValue } from "@weft/base";
import type { Block, Node, Pod } from "@weft/model";
import { type ParsedDocument, type Path, readDocuments, type TextFault } from "./documents.ts";
import { type Fault, Field, isMapping, pathText } from "./field.ts";
import { readNode } from "./node.ts";
import { readPod } from "./pod.ts";
import type { Notes } from "./unhonoured.ts";

/** An object without faults and the rows it asks for. */
export interface ManifestObject {
  /** "Node a", "Pod default/web": what makes two objects the same one. */
  readonly key: string;
  /** "web.yaml:12" */
  readonly place: string;
  readonly nodes: readonly Node[];
  readonly blocks: readonly Block[];
  readonly pods: readonly Pod[];
  /** Milliseconds since the epoch, of an object that a server has made; undefined: as old as can be. */
  readonly created?: number;
}

export interface FileReading {
  readonly objects: readonly ManifestObject[];
  readonly warnings: readonly string[];
  readonly errors: readonly string[];
}

type Rows = Pick<ManifestObject, "nodes" | "blocks" | "pods">;

/** Kinds that become rows: a new one is one line here. All are of the core group, apiVersion v1. */
const KINDS: Readonly<Record<string, (object: Field, notes: Notes) => Rows>> = {
  Node: (object, notes) => {
    const { node, blocks } = readNode(object, notes);
    return { nodes: [node], blocks, pods: [] };
  },
  Pod: (object, notes) => ({ nodes: [], blocks: [], pods: [readPod(object, notes)] }),
};

/** A list may hold a list, as a hand can write; an alias of itself would never end. */
const MAX_LIST_DEPTH = 2;

/** Reads all objects of a text. Never throws: what is wrong is in `errors`, each with file and line, in their order. */
export function readObjects(text: string, file: string): FileReading {
  const objects: ManifestObject[] = [];
  const { documents, warnings, errors } = readDocuments(text);
  const out: Reading = { file, objects, warnings: [...warnings], errors: [...errors] };
  for (const document of documents) readObject(document, document.value, [], undefined, out);
  const inOrder = (faults: readonly TextFault[]): string[] =>
    faults.toSorted((a, b) => a.line - b.line).map((f) => `${file}:${f.line}: ${f.message}`);
  return { objects, warnings: inOrder(out.warnings), errors: inOrder(out.errors) };
}

interface Reading {
  readonly file: string;
  readonly objects: ManifestObject[];
  readonly warnings: TextFault[];
  readonly errors: TextFault[];
}

/** `base` is the path of the object inside its document: empty, or "items[3]" of a list of `listKind`. */
function readObject(
  document: ParsedDocument,
  value: unknown,
  base: Path,
  listKind: string | undefined,
  out: Reading,
): void {
  const faults: Fault[] = [];
  const root = new Field(value, [], faults);
  const line = document.lineOf(base);
  const warn = (message: string): void => void out.warnings.push({ line, message });
  const report = (what: string): void => {
    for (const { path, message } of faults) {
      const text = path.length === 0 ? message : `${pathText(path)}: ${message}`;
      out.errors.push({ line: document.lineOf([...base, ...path]), message: `${what}: ${text}` });
    }
  };
  const position = base.length === 0 ? "object" : pathText(base);
  if (!isMapping(value)) {
    root.fault("must be a mapping with apiVersion and kind");
    report(position);
    return;
  }
  // Items of a PodList, as the API answers it, do not repeat their kind.
  const implied = root.at("kind").present ? undefined : /^(Node|Pod)List$/.exec(listKind ?? "")?.[1];
  const kind = implied ?? root.at("kind").requiredString();
  const version = implied === undefined ? root.at("apiVersion").requiredString() : "v1";
  if (kind === undefined || version === undefined) {
    report(position);
    return;
  }
  if (version === "v1" && /^(Node|Pod)?List$/.test(kind)) {
    const items = root.at("items").items();
    if (base.length / 2 >= MAX_LIST_DEPTH) root.fault(`more than ${MAX_LIST_DEPTH} lists inside each other`);
    else for (const item of items) readObject(document, item.value, [...base, ...item.path], kind, out);
    report(kind);
    return;
  }
  const what = `${kind} ${nameOf(root, kind)}`;
  const read = version === "v1" && Object.hasOwn(KINDS, kind) ? KINDS[kind] : undefined;
  if (read === undefined) {
    warn(`${what}: ignored, Weft does not use kind ${kind} of ${version}`);
    return;
  }
  const notes: Notes = { unhonoured: [], unknown: [] };
  const rows = read(root, notes);
  report(what);
  if (notes.unhonoured.length > 0) warn(`${what}: has no effect here: ${notes.unhonoured.join(", ")}`);
  if (notes.unknown.length > 0) warn(`${what}: unknown field: ${notes.unknown.join(", ")}`);
  if (faults.length === 0) out.objects.push({ key: what, place: `${out.file}:${line}`, ...rows });
}

/** The name as the object gives it, which may be malformed: for messages. */
function nameOf(object: Field, kind: string): string {
  const shown = (value: unknown): string => JSON.stringify(shownValue(value)).slice(1, -1);
  const { value: name } = object.at("metadata").at("name");
  const { value: namespace } = object.at("metadata").at("namespace");
  const prefix =
    kind === "Node"
      ? ""
      : namespace !== undefined
        ? `${shown(namespace)}/`
        : kind === "Pod"
          ? "default/"
          : "";
  return prefix + (name === undefined || name === "" ? "(no name)" : shown(name));
}
