/**
 * The runtime's side of CNI: what containerd and CRI-O do through libcni. A network is a list of plugins; ADD and CHECK
 * run them in order, DEL in reverse; each gets the list's name and version and the result of ADD.
 *
 *   add    version -> plugin 1 -> result -> plugin 2 -> ... -> result -> cache
 *   check  cache -> plugin 1 .. n            del  cache -> plugin n .. 1 -> cache entry removed
 *   gc     del of every cached attachment that is not valid -> plugin 1 .. n
 *
 * The caller sees to it that there is one operation at a time for a container, and none during GC.
 */
import { type Clock, systemClock, WeftError } from "@weft/base";
import { CniError, CODE } from "../errors.ts";
import type { Command } from "../skeleton/requirements.ts";
import type { CapabilityArguments } from "../types/capabilities.ts";
import type { Attachment, NetworkConfigurationList } from "../types/configuration.ts";
import type { JsonObject } from "../types/json.ts";
import { checkContainerId, checkInterfaceName } from "../types/names.ts";
import { parseResult } from "../types/parse-result.ts";
import { EMPTY_RESULT, type Result } from "../types/result.ts";
import { type CniVersion, LATEST_VERSION, versionAtLeast } from "../types/version.ts";
import { type AttachmentKey, ResultCache } from "./cache.ts";
import { PluginExecutionError } from "./errors.ts";
import { execute } from "./execute.ts";
import { findPlugin } from "./find.ts";
import { deriveConfiguration, type RequestParts } from "./request.ts";
import { type Spawn, spawnProcess } from "./spawn.ts";
import { negotiate, parseVersionOutput, VersionProbe } from "./versions.ts";

export interface RuntimeOptions {
  /** Directories of plugins; becomes CNI_PATH. */
  readonly path: readonly string[];
  /** Results are kept in `results` below this; libcni's is /var/lib/cni. */
  readonly cacheDirectory: string;
  /** Environment of the plugins besides CNI_ variables. Default: this process's, without its CNI_ variables. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Milliseconds that one plugin may take. Default 120,000. */
  readonly timeoutMs?: number;
  readonly spawn?: Spawn;
  readonly clock?: Clock;
}

/** A container's attachment to a network, as the caller wants it. */
export interface AttachmentSpec {
  readonly containerId: string;
  readonly interfaceName: string;
  /** Path. May be absent for DEL, when the namespace is gone. */
  readonly networkNamespace?: string;
  /** CNI_ARGS, in order. */
  readonly args?: readonly (readonly [string, string])[];
  readonly capabilityArguments?: CapabilityArguments;
}

export interface Runtime {
  readonly cache: ResultCache;
  /** Attaches and returns the last plugin's result. On failure the caller shall `del`; see addOrDelete. */
  add(list: NetworkConfigurationList, attachment: AttachmentSpec): Promise<Result>;
  /** Detaches; succeeds when nothing is attached. Stops at the first plugin that fails. */
  del(list: NetworkConfigurationList, attachment: AttachmentSpec): Promise<void>;
  /** Throws what is wrong. Does nothing when the list says disableCheck. */
  check(list: NetworkConfigurationList, attachment: AttachmentSpec): Promise<void>;
  /** Detaches what is cached and not valid, then lets the plugins collect. Goes on after errors and throws them all. */
  gc(list: NetworkConfigurationList, valid: readonly Attachment[]): Promise<void>;
  /** Throws the first plugin's error; "unknown" below version 1.1.0, where plugins cannot be asked. */
  status(list: NetworkConfigurationList): Promise<"ready" | "unknown">;
  /** Versions that a plugin supports. */
  versions(type: string): Promise<string[]>;
}

/** ADD, and DEL of the whole list when it fails, as container runtimes do. Throws the error of ADD. */
export async function addOrDelete(
  runtime: Runtime,
  list: NetworkConfigurationList,
  attachment: AttachmentSpec,
): Promise<Result> {
  try {
    return await runtime.add(list, attachment);
  } catch (error) {
    try {
      await runtime.del(list, attachment);
    } catch (cleanup) {
      throw new WeftError("internal", "ADD failed, and so did the DEL after it", {
        object: `network ${list.name}, container ${attachment.containerId}`,
        cause: new AggregateError([error, cleanup], `${messageOf(error)}; then ${messageOf(cleanup)}`),
      });
    }
    throw error;
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

export function createRuntime(options: RuntimeOptions): Runtime {
  return new PluginRuntime(options);
}

class PluginRuntime implements Runtime {
  readonly cache: ResultCache;
  readonly #options: Required<Omit<RuntimeOptions, "environment">>;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #probe: VersionProbe;

  constructor(options: RuntimeOptions) {
    this.#options = { timeoutMs: 120_000, spawn: spawnProcess, clock: systemClock, ...options };
    this.#environment = withoutCni(options.environment ?? process.env);
    this.cache = new ResultCache(options.cacheDirectory);
    this.#probe = new VersionProbe((file) => this.#askVersions(file));
  }

  async add(list: NetworkConfigurationList, attachment: AttachmentSpec): Promise<Result> {
    validate(attachment);
    this.cache.refuseConflict(keyOf(list, attachment));
    const { files, version } = await this.#prepare(list);
    let result: Result | undefined;
    for (const [i, plugin] of list.plugins.entries()) {
      const parts = { previousResult: result, capabilityArguments: attachment.capabilityArguments };
      const request = deriveConfiguration(list, plugin, version, parts);
      const stdout = await this.#run("ADD", plugin.type, files[i] as string, request, attachment);
      result = readResult(stdout, version, plugin.type);
    }
    this.cache.write({
      ...keyOf(list, attachment),
      list,
      networkNamespace: attachment.networkNamespace,
      args: attachment.args ?? [],
      capabilityArguments: attachment.capabilityArguments ?? {},
      version,
      result: result ?? EMPTY_RESULT,
    });
    return result ?? EMPTY_RESULT;
  }

  async del(list: NetworkConfigurationList, attachment: AttachmentSpec): Promise<void> {
    validate(attachment);
    const { files, version } = await this.#prepare(list);
    const key = keyOf(list, attachment);
    const parts = {
      previousResult: versionAtLeast(version, "0.4.0") ? this.#cachedResult(key) : undefined,
      capabilityArguments: attachment.capabilityArguments,
    };
    for (let i = list.plugins.length - 1; i >= 0; i--) {
      const plugin = list.plugins[i];
      if (plugin === undefined) continue;
      const request = deriveConfiguration(list, plugin, version, parts);
      try {
        await this.#run("DEL", plugin.type, files[i] as string, request, attachment);
      } catch (error) {
        // The plugin does not know the container: by the specification there is nothing to clean up.
        if (!(error instanceof CniError) || error.cniCode !== CODE.unknownContainer) throw error;
      }
    }
    this.cache.remove(key);
  }

  async check(list: NetworkConfigurationList, attachment: AttachmentSpec): Promise<void> {
    validate(attachment);
    if (list.disableCheck) return;
    const { files, version } = await this.#prepare(list);
    if (!versionAtLeast(version, "0.4.0")) {
      throw new CniError(
        CODE.incompatibleVersion,
        `network ${list.name}: CNI version ${version} has no CHECK`,
      );
    }
    const cached = this.cache.read(keyOf(list, attachment));
    if (cached === undefined) {
      throw new WeftError("not-found", "there is no result of an ADD to check against", {
        object: `network ${list.name}, container ${attachment.containerId}`,
      });
    }
    const parts = {
      previousResult: cached.result,
      capabilityArguments: attachment.capabilityArguments ?? cached.capabilityArguments,
    };
    for (const [i, plugin] of list.plugins.entries()) {
      const request = deriveConfiguration(list, plugin, version, parts);
      await this.#run("CHECK", plugin.type, files[i] as string, request, attachment);
    }
  }

  async gc(list: NetworkConfigurationList, valid: readonly Attachment[]): Promise<void> {
    if (list.disableGC) return;
    const isValid = new Set(valid.map((a) => `${a.containerId} ${a.interfaceName}`));
    const errors: unknown[] = [];
    for (const stale of this.cache.list(list.name)) {
      if (isValid.has(`${stale.containerId} ${stale.interfaceName}`)) continue;
      const { networkNamespace, ...rest } = stale;
      await this.del(list, {
        ...rest,
        ...(networkNamespace === undefined ? {} : { networkNamespace }),
      }).catch((error: unknown) => errors.push(error));
    }
    const { files, version } = await this.#prepare(list);
    if (versionAtLeast(version, "1.1.0")) {
      for (const [i, plugin] of list.plugins.entries()) {
        const request = deriveConfiguration(list, plugin, version, { validAttachments: valid });
        await this.#run("GC", plugin.type, files[i] as string, request).catch((error: unknown) =>
          errors.push(error),
        );
      }
    }
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) {
      throw new WeftError("internal", `network ${list.name}: ${errors.length} errors in GC`, {
        cause: new AggregateError(errors, errors.map(messageOf).join("; ")),
      });
    }
  }

  async status(list: NetworkConfigurationList): Promise<"ready" | "unknown"> {
    const { files, version } = await this.#prepare(list);
    if (!versionAtLeast(version, "1.1.0")) return "unknown";
    for (const [i, plugin] of list.plugins.entries()) {
      const request = deriveConfiguration(list, plugin, version, {} satisfies RequestParts);
      await this.#run("STATUS", plugin.type, files[i] as string, request);
    }
    return "ready";
  }

  async versions(type: string): Promise<string[]> {
    return await this.#probe.versionsOf(findPlugin(type, this.#options.path));
  }

  async #prepare(list: NetworkConfigurationList): Promise<{ files: string[]; version: CniVersion }> {
    const files = list.plugins.map((plugin) => findPlugin(plugin.type, this.#options.path));
    return { files, version: await negotiate(list, files, this.#probe) };
  }

  /** A record that cannot be read must not keep a container from being deleted. */
  #cachedResult(key: AttachmentKey): Result | undefined {
    try {
      return this.cache.read(key)?.result;
    } catch (error) {
      if (error instanceof WeftError) return undefined;
      throw error;
    }
  }

  async #askVersions(file: string): Promise<string[]> {
    const stdout = await this.#run("VERSION", file, file, { cniVersion: LATEST_VERSION });
    return parseVersionOutput(stdout, file);
  }

  #run(
    command: Command,
    plugin: string,
    file: string,
    request: JsonObject,
    attachment?: AttachmentSpec,
  ): Promise<string> {
    const { path, timeoutMs } = this.#options;
    const environment = {
      ...this.#environment,
      CNI_COMMAND: command,
      CNI_PATH: path.join(":"),
      ...(attachment === undefined ? {} : attachmentEnvironment(attachment)),
    };
    const stdin = Buffer.from(JSON.stringify(request));
    return execute({ file, plugin, command, environment, stdin, timeoutMs }, this.#options);
  }
}

const keyOf = (list: NetworkConfigurationList, attachment: AttachmentSpec): AttachmentKey => ({
  network: list.name,
  containerId: attachment.containerId,
  interfaceName: attachment.interfaceName,
});

function validate({ containerId, interfaceName }: AttachmentSpec): void {
  const wrong = checkContainerId(containerId) ?? checkInterfaceName(interfaceName);
  if (wrong !== undefined) throw new WeftError("invalid", wrong, { object: `container ${containerId}` });
}

function attachmentEnvironment(attachment: AttachmentSpec): Record<string, string> {
  return {
    CNI_CONTAINERID: attachment.containerId,
    CNI_IFNAME: attachment.interfaceName,
    CNI_NETNS: attachment.networkNamespace ?? "",
    CNI_ARGS: (attachment.args ?? []).map(([key, value]) => `${key}=${value}`).join(";"),
  };
}

function withoutCni(environment: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [key, value] of Object.entries(environment)) {
    if (value !== undefined && !key.startsWith("CNI_")) kept[key] = value;
  }
  return kept;
}

function readResult(stdout: string, version: CniVersion, plugin: string): Result {
  try {
    return parseResult(stdout, version).result;
  } catch (cause) {
    throw new PluginExecutionError("output", "printed what is no result", { plugin, command: "ADD", cause });
  }
}
