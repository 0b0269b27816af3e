/** A directory of executables for tests, with a place for results and for what the noop plugin records. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JsonObject } from "../../types/json.ts";

export interface RecordedCall {
  readonly command: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly configuration: JsonObject & { readonly type: string };
}

export class PluginDirectory {
  readonly root = mkdtempSync(join(tmpdir(), "weft-cni-"));
  readonly bin = join(this.root, "bin");
  readonly cache = join(this.root, "cache");
  readonly record = join(this.root, "record");

  constructor() {
    mkdirSync(this.bin);
  }

  /** An executable shell script. */
  script(name: string, body: string): string {
    const file = join(this.bin, name);
    writeFileSync(file, `#!/bin/sh\n${body}\n`);
    chmodSync(file, 0o755);
    return file;
  }

  /** The noop plugin under a name; `versions` limits what it supports. */
  noop(name: string, versions?: readonly string[]): string {
    const limit = versions === undefined ? "" : `NOOP_VERSIONS=${versions.join(",")} `;
    return this.script(name, `${limit}exec ${process.execPath} ${join(import.meta.dir, "noop.ts")}`);
  }

  /** What the noop plugins were called with since the last time. */
  calls(): RecordedCall[] {
    let text: string;
    try {
      text = readFileSync(this.record, "utf8");
    } catch {
      return [];
    }
    rmSync(this.record);
    return text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as RecordedCall);
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}
