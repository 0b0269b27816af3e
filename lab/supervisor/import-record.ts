/** What was made of manifests, on disk: whoever supervises the lab next knows what to take away with a manifest. */
import { readFileSync } from "node:fs";
import { describeError, type Logger, replaceFile } from "@weft/base";

export interface Applied {
  /** The object as the manifest had it. */
  readonly value: Readonly<Record<string, unknown>>;
  /** Of the object that was made, or changed. */
  readonly uid: string;
  /** It is being deleted, to be made anew. */
  readonly replacing?: true;
}

export class ImportRecord {
  readonly #file: string;
  readonly #entries = new Map<string, Applied>();

  /** A file that cannot be read counts as empty: then nothing is taken away that was not read again. */
  constructor(file: string, logger: Logger) {
    this.#file = file;
    try {
      const value = JSON.parse(readFileSync(file, "utf8")) as Record<string, Applied>;
      for (const [key, entry] of Object.entries(value)) this.#entries.set(key, entry);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      logger.warn("the record of imported manifests cannot be read", { file, error: describeError(error) });
    }
  }

  keys(): readonly string[] {
    return [...this.#entries.keys()];
  }
  get(key: string): Applied | undefined {
    return this.#entries.get(key);
  }
  set(key: string, applied: Applied): void {
    this.#entries.set(key, applied);
    this.#write();
  }
  delete(key: string): void {
    this.#entries.delete(key);
    this.#write();
  }

  #write(): void {
    replaceFile(this.#file, JSON.stringify(Object.fromEntries(this.#entries)));
  }
}
