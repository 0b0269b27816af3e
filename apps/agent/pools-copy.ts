/** What this node needs of pools to start without the API, on disk; there is no such file in clusters without pools. */
import { readFileSync, rmSync } from "node:fs";
import { describeError, type Logger, replaceFile, WeftError } from "@weft/base";
import type { IpBlock, IpPool, PodAddressing } from "@weft/model";
import type { KnownPod } from "./known-pods.ts";

export interface PoolsCopy {
  readonly pools: readonly IpPool[];
  /** The node's own blocks, and those that it has loans of. */
  readonly own: readonly IpBlock[];
  readonly labels: Readonly<Record<string, string>>;
  /** Of pods of which nothing but the namespace is known. */
  readonly byNamespace: Readonly<Record<string, PodAddressing>>;
  readonly pods: readonly KnownPod[];
}

export class PoolsCopyFile {
  readonly #file: string;
  readonly #logger: Logger;
  #written: string | undefined;

  constructor(file: string, logger: Logger) {
    this.#file = file;
    this.#logger = logger;
  }

  /** A copy that cannot be read is as good as none. */
  read(): PoolsCopy | undefined {
    try {
      this.#written = readFileSync(this.#file, "utf8");
      const { pools, own, labels, byNamespace = {}, pods } = JSON.parse(this.#written) as Partial<PoolsCopy>;
      if (Array.isArray(pools) && Array.isArray(own) && Array.isArray(pods) && labels !== undefined) {
        return { pools, own, labels, byNamespace, pods };
      }
      throw new WeftError("invalid", "it has no pools, blocks and pods");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") this.#warn("read", error);
      return undefined;
    }
  }

  /** Undefined: there is nothing to keep. */
  write(copy: PoolsCopy | undefined): void {
    const text = copy === undefined ? undefined : JSON.stringify(copy);
    if (text === this.#written) return;
    try {
      if (text === undefined) rmSync(this.#file, { force: true });
      else replaceFile(this.#file, text);
      this.#written = text;
    } catch (error) {
      this.#warn("written", error);
    }
  }

  #warn(what: string, error: unknown): void {
    const details = { file: this.#file, error: describeError(error) };
    this.#logger.warn(`the copy of the address pools cannot be ${what}`, details);
  }
}
