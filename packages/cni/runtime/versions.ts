/** Which version of the specification to speak with the plugins of a list. */
import { statSync } from "node:fs";
import { CniError, CODE } from "../errors.ts";
import type { NetworkConfigurationList } from "../types/configuration.ts";
import { JsonFields, parseJson } from "../types/json.ts";
import {
  type CniVersion,
  highestVersion,
  isCniVersion,
  LATEST_VERSION,
  parseVersion,
} from "../types/version.ts";
import { PluginExecutionError } from "./errors.ts";

/** Reads what a plugin prints for VERSION. Throws PluginExecutionError "output". */
export function parseVersionOutput(stdout: string, plugin: string): string[] {
  try {
    const o = new JsonFields(parseJson(stdout, "VERSION output"), "VERSION output", CODE.decoding);
    const versions = o.strings("supportedVersions");
    if (versions.length === 0) o.fail("supportedVersions", "must not be empty");
    return versions;
  } catch (cause) {
    throw new PluginExecutionError("output", "printed no list of versions", {
      plugin,
      command: "VERSION",
      cause,
    });
  }
}

/**
 * Probes executables for their versions and remembers the answer for as long as the file stays the same. A plugin that
 * does not know VERSION (code 4, or any error from before 0.2.0) supports 0.1.0.
 */
export class VersionProbe {
  readonly #known = new Map<string, { readonly identity: string; readonly versions: Promise<string[]> }>();
  readonly #ask: (file: string) => Promise<string[]>;

  constructor(ask: (file: string) => Promise<string[]>) {
    this.#ask = ask;
  }

  versionsOf(file: string): Promise<string[]> {
    const { dev, ino, size, mtimeMs } = statSync(file);
    const identity = `${dev}:${ino}:${size}:${mtimeMs}`;
    const known = this.#known.get(file);
    if (known?.identity === identity) return known.versions;
    const versions = this.#ask(file).catch((error: unknown) => {
      if (error instanceof CniError && /CNI_COMMAND/.test(error.message)) return ["0.1.0"];
      this.#known.delete(file);
      throw error;
    });
    this.#known.set(file, { identity, versions });
    return versions;
  }
}

/** The highest version of the list that we and all of its plugins support. Throws CniError 1. */
export async function negotiate(
  list: NetworkConfigurationList,
  files: readonly string[],
  probe: VersionProbe,
): Promise<CniVersion> {
  const ours = list.cniVersions.filter(isCniVersion);
  if (ours.length === 0) return parseVersion(list.cniVersion);
  // With nothing to choose from, asking would only cost time: the plugin refuses what it does not support.
  if (ours.length === 1) return ours[0] as CniVersion;
  const supported = await Promise.all(files.map((file) => probe.versionsOf(file)));
  const common = highestVersion(ours.filter((v) => supported.every((s) => s.includes(v))));
  if (common !== undefined) return common;
  const lines = files.map((file, i) => `${file} supports ${supported[i]?.join(", ")}`);
  throw new CniError(
    CODE.incompatibleVersion,
    `network ${list.name}: its plugins share none of its versions`,
    {
      details: `The list allows ${list.cniVersions.join(", ")}, the runtime up to ${LATEST_VERSION}; ${lines.join("; ")}`,
    },
  );
}
