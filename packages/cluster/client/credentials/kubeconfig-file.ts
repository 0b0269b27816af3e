/**
 * Files of KUBECONFIG, put together: of entries with one name the first counts, and the first file that says
 * so sets the current context (kubectl reference, "Organizing Cluster Access Using kubeconfig Files").
 */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { WeftError } from "@weft/base";
import { type ParsedDocument, readDocuments } from "../../documents.ts";
import { type Fault, Field, pathText } from "../../field.ts";

/** A named cluster, user or context, and the file that it is from. */
export interface Entry {
  /** What stands below the name: absent fields read as absent. */
  readonly field: Field;
  readonly file: KubeconfigFile;
}

export interface Kubeconfig {
  readonly files: readonly string[];
  readonly currentContext: string | undefined;
  readonly contexts: ReadonlyMap<string, Entry>;
  readonly clusters: ReadonlyMap<string, Entry>;
  readonly users: ReadonlyMap<string, Entry>;
}

export class KubeconfigFile {
  readonly path: string;
  readonly root: Field;
  readonly #document: ParsedDocument | undefined;
  readonly #faults: Fault[] = [];

  constructor(path: string, document: ParsedDocument | undefined) {
    this.path = path;
    this.#document = document;
    this.root = new Field(document?.value ?? {}, [], this.#faults);
  }

  /** A path of the file as it is meant: relative to the file's directory. */
  resolve(path: string): string {
    return resolve(dirname(this.path), path);
  }

  /** Throws "invalid" with all that was found wrong with the fields looked at. */
  check(): void {
    const faults = this.#faults.splice(0);
    if (faults.length === 0) return;
    const texts = faults.map(({ path, message }) => {
      return `${this.path}:${this.#document?.lineOf(path) ?? 1}: ${pathText(path)}: ${message}`;
    });
    throw new WeftError("invalid", texts.join("; "), {
      object: this.path,
      hint: "Correct the fields named.",
    });
  }
}

/** Reads files; with `skipAbsent` those that are not there do not count, as in a KUBECONFIG list. Throws WeftError. */
export function readKubeconfig(paths: readonly string[], skipAbsent: boolean): Kubeconfig {
  const files = paths.flatMap((path) => readFile(path, skipAbsent) ?? []);
  const maps = { contexts: new Map<string, Entry>(), clusters: new Map(), users: new Map() };
  let currentContext: string | undefined;
  for (const file of files) {
    currentContext ??= file.root.at("current-context").optionalString() || undefined;
    for (const kind of ["contexts", "clusters", "users"] as const) {
      for (const item of file.root.at(kind).items()) {
        const name = item.at("name").requiredString();
        const entry: Entry = { field: item.at(kind.slice(0, -1)), file };
        if (name !== undefined && !maps[kind].has(name)) maps[kind].set(name, entry);
      }
    }
    file.check();
  }
  return { files: files.map((file) => file.path), currentContext, ...maps };
}

function readFile(path: string, skipAbsent: boolean): KubeconfigFile | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    const absent = (cause as NodeJS.ErrnoException).code === "ENOENT";
    if (absent && skipAbsent) return undefined;
    throw new WeftError(absent ? "not-found" : "permission", `kubeconfig ${path} cannot be read`, {
      object: path,
      hint: "Name a kubeconfig that is there and readable by this process.",
      cause,
    });
  }
  const { documents, errors } = readDocuments(text);
  const fault =
    errors[0] ?? (documents.length > 1 ? { line: 1, message: "more than one document" } : undefined);
  if (fault !== undefined) {
    throw new WeftError("invalid", `${path}:${fault.line}: ${fault.message}`, {
      object: path,
      hint: "It must be one YAML document of kind Config.",
    });
  }
  const file = new KubeconfigFile(path, documents[0]);
  file.root.keys();
  file.check();
  return file;
}
