/** The objects of one file, each with its rows or its faults. */
import { shownValue } from "@weft/base";
import {
  type Block,
  type EndpointSlice,
  type Node,
  POOLS_API_VERSION,
  type Pod,
  type Service,
  type ServiceRange,
} from "@weft/model";
import { type ParsedDocument, type Path, readDocuments, type TextFault } from "./documents.ts";
import { readEndpointSlice } from "./endpoint-slice.ts";
import { type Fault, Field, faultText, isMapping, pathText } from "./field.ts";
import { readNode } from "./node.ts";
import { readPod } from "./pod.ts";
import { readService } from "./service.ts";
import { readServiceCidr } from "./service-cidr.ts";
import { type Notes, noNotes } from "./unhonoured.ts";

/** An object without faults and the rows it asks for. */
export interface ManifestObject {
  /** "Node a", "Pod default/web": what makes two objects the same one. */
  readonly key: string;
  /** "web.yaml:12" */
  readonly place: string;
  readonly nodes: readonly Node[];
  readonly blocks: readonly Block[];
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  readonly endpointSlices: readonly EndpointSlice[];
  readonly serviceRanges: readonly ServiceRange[];
  /** Milliseconds since the epoch, of an object that a server has made; undefined: as old as can be. */
  readonly created?: number;
  /** The object as the file has it, where the objects themselves are wanted. */
  readonly value?: Readonly<Record<string, unknown>>;
}

/** For whoever wants the objects themselves, of every kind, to give them to an API server. */
export interface WholeObjects {
  /** True for a path of a field that has an effect there, though it has none in what becomes rows here. */
  readonly honoured: (path: string) => boolean;
}

export interface FileReading {
  readonly objects: readonly ManifestObject[];
  readonly warnings: readonly string[];
  readonly errors: readonly string[];
}

type Rows = Omit<ManifestObject, "key" | "place" | "created" | "value">;

export const NO_ROWS: Rows = {
  nodes: [],
  blocks: [],
  pods: [],
  services: [],
  endpointSlices: [],
  serviceRanges: [],
};

/** Kinds that become rows, by apiVersion and kind: a new one is one line here. */
const KINDS: Readonly<Record<string, (object: Field, notes: Notes) => Partial<Rows>>> = {
  "v1 Node": (object, notes) => {
    const { node, blocks } = readNode(object, notes);
    return { nodes: [node], blocks };
  },
  "v1 Pod": (object, notes) => ({ pods: [readPod(object, notes)] }),
  "v1 Service": (object, notes) => ({ services: [readService(object, notes)] }),
  "discovery.k8s.io/v1 EndpointSlice": (object, notes) => {
    const slice = readEndpointSlice(object, notes);
    return slice === undefined ? {} : { endpointSlices: [slice] };
  },
  "networking.k8s.io/v1 ServiceCIDR": (object, notes) => ({ serviceRanges: readServiceCidr(object, notes) }),
};

/** Kinds of objects that have no namespace. */
const CLUSTER_SCOPED: readonly string[] = ["Node", "ServiceCIDR", "IPPool", "IPBlock"];

/** A list may hold a list, as a hand can write; an alias of itself would never end. */
const MAX_LIST_DEPTH = 2;

/**
 * Reads all objects of a text. Never throws: what is wrong is in `errors`, each with file and line, in their order. With
 * `whole`, every object has its value, and those of other kinds are not looked into.
 */
export function readObjects(text: string, file: string, whole?: WholeObjects): FileReading {
  const objects: ManifestObject[] = [];
  const { documents, warnings, errors } = readDocuments(text);
  const out: Reading = { file, whole, objects, warnings: [...warnings], errors: [...errors] };
  for (const document of documents) readObject(document, document.value, [], undefined, out);
  const inOrder = (faults: readonly TextFault[]): string[] =>
    faults.toSorted((a, b) => a.line - b.line).map((f) => `${file}:${f.line}: ${f.message}`);
  return { objects, warnings: inOrder(out.warnings), errors: inOrder(out.errors) };
}

interface Reading {
  readonly file: string;
  readonly whole: WholeObjects | undefined;
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
    for (const fault of faults) {
      const line = document.lineOf([...base, ...fault.path]);
      out.errors.push({ line, message: `${what}: ${faultText(fault)}` });
    }
  };
  const position = base.length === 0 ? "object" : pathText(base);
  if (!isMapping(value)) {
    root.fault("must be a mapping with apiVersion and kind");
    report(position);
    return;
  }
  // Items of a PodList, as the API answers it, do not repeat their kind.
  const implied = root.at("kind").present ? undefined : impliedKind(listKind);
  const kind = implied?.kind ?? root.at("kind").requiredString();
  const version = implied?.version ?? root.at("apiVersion").requiredString();
  if (kind === undefined || version === undefined) {
    report(position);
    return;
  }
  if ((version === "v1" && kind === "List") || impliedKind(kind)?.version === version) {
    const items = root.at("items").items();
    if (base.length / 2 >= MAX_LIST_DEPTH) root.fault(`more than ${MAX_LIST_DEPTH} lists inside each other`);
    else for (const item of items) readObject(document, item.value, [...base, ...item.path], kind, out);
    report(kind);
    return;
  }
  const what = `${kind} ${nameOf(root, kind)}`;
  const read = Object.hasOwn(KINDS, `${version} ${kind}`) ? KINDS[`${version} ${kind}`] : undefined;
  if (read === undefined && out.whole !== undefined) {
    if (root.at("metadata").at("name").requiredString() === undefined) report(what);
    else out.objects.push({ key: what, place: `${out.file}:${line}`, ...NO_ROWS, value });
    return;
  }
  if (read === undefined) {
    if (version === POOLS_API_VERSION && (kind === "IPPool" || kind === "IPBlock")) {
      warn(
        `${what}: ignored, address pools need an API server (weft server); a directory of manifests has none`,
      );
      return;
    }
    warn(`${what}: ignored, Weft does not use kind ${kind} of ${version}`);
    return;
  }
  const notes = noNotes();
  const rows = read(root, notes);
  report(what);
  const unhonoured = notes.unhonoured.filter((path) => out.whole?.honoured(path) !== true);
  if (unhonoured.length > 0) warn(`${what}: has no effect here: ${unhonoured.join(", ")}`);
  if (notes.unknown.length > 0) warn(`${what}: unknown field: ${notes.unknown.join(", ")}`);
  for (const fault of notes.ignored) {
    const at = document.lineOf([...base, ...fault.path]);
    out.warnings.push({ line: at, message: `${what}: ${faultText(fault)} (left out)` });
  }
  if (faults.length === 0) {
    const source = out.whole === undefined ? {} : { value };
    out.objects.push({ key: what, place: `${out.file}:${line}`, ...NO_ROWS, ...rows, ...source });
  }
}

/** Of "PodList": what its items are. */
function impliedKind(listKind: string | undefined): { kind: string; version: string } | undefined {
  const kind = listKind?.replace(/List$/, "");
  const known = Object.keys(KINDS).find((name) => kind !== listKind && name.endsWith(` ${kind}`));
  return known === undefined || kind === undefined ? undefined : { kind, version: known.split(" ")[0] ?? "" };
}

/** The name as the object gives it, which may be malformed: for messages. */
function nameOf(object: Field, kind: string): string {
  const shown = (value: unknown): string => JSON.stringify(shownValue(value)).slice(1, -1);
  const { value: name } = object.at("metadata").at("name");
  const { value: namespace } = object.at("metadata").at("namespace");
  const prefix = CLUSTER_SCOPED.includes(kind)
    ? ""
    : namespace !== undefined
      ? `${shown(namespace)}/`
      : Object.keys(KINDS).some((known) => known.endsWith(` ${kind}`))
        ? "default/"
        : "";
  return prefix + (name === undefined || name === "" ? "(no name)" : shown(name));
}
