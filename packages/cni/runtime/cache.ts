/**
 * Results of ADD on disk, for the CHECK and DEL to come: `<directory>/results/<network>-<container>-<interface>`, in
 * the form of libcni (kind "cniCacheV1"), so that either runtime can detach what the other attached. Written to a
 * temporary file and renamed: a reader sees the old record or the new one.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { WeftError } from "@weft/base";
import { CniError, CODE } from "../errors.ts";
import type { CapabilityArguments } from "../types/capabilities.ts";
import { type NetworkConfigurationList, parseNetworkConfigurationList } from "../types/configuration.ts";
import { formatResult } from "../types/format-result.ts";
import { compact, JsonFields, parseJson } from "../types/json.ts";
import { parseResult } from "../types/parse-result.ts";
import type { Result } from "../types/result.ts";
import type { CniVersion } from "../types/version.ts";

const KIND = "cniCacheV1";

/** What identifies an attachment on a node. */
export interface AttachmentKey {
  readonly network: string;
  readonly containerId: string;
  readonly interfaceName: string;
}

export interface CachedAttachment extends AttachmentKey {
  readonly list: NetworkConfigurationList;
  readonly networkNamespace: string | undefined;
  readonly args: readonly (readonly [string, string])[];
  readonly capabilityArguments: CapabilityArguments;
  readonly version: CniVersion;
  readonly result: Result;
}

export class ResultCache {
  readonly #directory: string;
  #sequence = 0;

  constructor(directory: string) {
    this.#directory = join(directory, "results");
  }

  #file({ network, containerId, interfaceName }: AttachmentKey): string {
    return join(this.#directory, `${network}-${containerId}-${interfaceName}`);
  }

  /** Throws WeftError "conflict" when another attachment has the same file name: hyphens are allowed in all parts. */
  refuseConflict(key: AttachmentKey): void {
    try {
      this.read(key);
    } catch (error) {
      if (!(error instanceof CniError)) throw error;
    }
  }

  /** Replaces what is there. */
  write(attachment: CachedAttachment): void {
    const file = this.#file(attachment);
    const record = compact({
      kind: KIND,
      containerId: attachment.containerId,
      config: Buffer.from(JSON.stringify(attachment.list)).toString("base64"),
      ifName: attachment.interfaceName,
      networkName: attachment.network,
      netns: attachment.networkNamespace,
      cniArgs: attachment.args.length === 0 ? undefined : attachment.args,
      capabilityArgs: attachment.capabilityArguments,
      result: formatResult(attachment.result, attachment.version),
    });
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const temporary = join(this.#directory, `.${process.pid}-${this.#sequence++}.tmp`);
    const fd = openSync(temporary, "wx", 0o600);
    try {
      writeSync(fd, JSON.stringify(record));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, file);
  }

  /** Undefined when there is none. Throws CniError for a file that is damaged, "conflict" for another's. */
  read(key: AttachmentKey): CachedAttachment | undefined {
    const file = this.#file(key);
    const found = readRecord(file);
    if (found === undefined) return undefined;
    const same =
      found.network === key.network &&
      found.containerId === key.containerId &&
      found.interfaceName === key.interfaceName;
    if (same) return found;
    throw new WeftError(
      "conflict",
      `${file} is of network ${found.network}, container ${found.containerId}`,
      {
        hint: "Rename one of the networks: the file names of their results are the same.",
      },
    );
  }

  /** Removes the record if it is there; another attachment's under the same file name stays. */
  remove(key: AttachmentKey): void {
    try {
      this.read(key);
    } catch (error) {
      if (!(error instanceof CniError)) return;
    }
    rmSync(this.#file(key), { force: true });
  }

  /** Every attachment that can be read, of one network or all, in the order of file names. */
  list(network?: string): CachedAttachment[] {
    return names(this.#directory)
      .map((name) => readIntact(join(this.#directory, name)))
      .filter((a) => a !== undefined)
      .filter((a) => network === undefined || a.network === network);
  }
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => !name.startsWith("."))
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** A damaged record names no attachment that could be told from others, so a listing has nothing to say of it. */
function readIntact(file: string): CachedAttachment | undefined {
  try {
    return readRecord(file);
  } catch (error) {
    if (error instanceof CniError) return undefined;
    throw error;
  }
}

function readRecord(file: string): CachedAttachment | undefined {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const o = new JsonFields(parseJson(text, file), file, CODE.decoding);
  if (o.optionalString("kind") !== KIND) o.fail("kind", `must be "${KIND}"`);
  const list = parseNetworkConfigurationList(Buffer.from(o.string("config"), "base64"));
  const { version, result } = parseResult(o.optionalFields("result")?.object ?? {}, undefined, file);
  return {
    network: o.string("networkName"),
    containerId: o.string("containerId"),
    interfaceName: o.string("ifName"),
    list,
    networkNamespace: o.optionalString("netns"),
    args: parsePairs(o),
    capabilityArguments: (o.optionalFields("capabilityArgs")?.object ?? {}) as CapabilityArguments,
    version,
    result,
  };
}

function parsePairs(o: JsonFields): [string, string][] {
  const { cniArgs } = o.object;
  const pairs = cniArgs ?? [];
  const isPair = (p: unknown): p is [string, string] =>
    Array.isArray(p) && p.length === 2 && p.every((s) => typeof s === "string");
  if (!Array.isArray(pairs) || !pairs.every(isPair))
    return o.fail("cniArgs", "must be a list of pairs of strings");
  return pairs;
}
