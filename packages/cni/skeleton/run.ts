/**
 * One run of a plugin, from its environment to its exit code: environment, standard input, version, previous result,
 * namespace, the plugin's own function, output. Whatever is thrown on the way becomes the error JSON on standard
 * output and exit code 1, so that nothing of a plugin has to care how errors travel.
 */
import { CniError, CODE, toCniError } from "../errors.ts";
import {
  type NetworkConfiguration,
  parseNetworkConfiguration,
  parseValidAttachments,
} from "../types/configuration.ts";
import { formatResult } from "../types/format-result.ts";
import { JsonFields, parseJson } from "../types/json.ts";
import { parseResult } from "../types/parse-result.ts";
import type { Result } from "../types/result.ts";
import { type CniVersion, highestVersion, LATEST_VERSION, versionAtLeast } from "../types/version.ts";
import { parseArguments, requireKnown } from "./arguments.ts";
import { type PluginEnvironment, parseEnvironment } from "./environment.ts";
import type { PluginIo } from "./io.ts";
import type { Plugin, PluginRequest } from "./plugin.ts";
import { REQUIREMENTS } from "./requirements.ts";

/** Bytes of standard input that a plugin reads at most. */
export const STDIN_LIMIT = 16 * 1024 * 1024;

/** Runs the plugin once and returns the exit code of the process. Never throws but when output fails. */
export async function runPlugin(plugin: Plugin, io: PluginIo): Promise<number> {
  const latest = highestVersion(plugin.versions) ?? LATEST_VERSION;
  if (commandOf(io) === "") {
    io.writeStderr(`${plugin.about}\nCNI protocol versions supported: ${plugin.versions.join(", ")}\n`);
    return 0;
  }
  let answerIn: string = latest;
  try {
    const environment = parseEnvironment(io.environment);
    const stdin = readStdin(io);
    if (environment.command === "VERSION") {
      const asked = versionAsked(stdin);
      write(io, { cniVersion: asked ?? latest, supportedVersions: plugin.versions });
      return 0;
    }
    const configuration = parseNetworkConfiguration(stdin);
    const version = agreeOnVersion(plugin, configuration);
    answerIn = version;
    refuseTooOld(environment, version);
    refuseOwnNamespace(environment, io);
    const args = parseArguments(environment.args);
    if (plugin.arguments !== undefined) requireKnown(args, plugin.arguments);
    const request = { version, configuration, args, path: environment.path, stdin };
    const result = await call(plugin, environment, request);
    if (result !== undefined) write(io, formatResult(result, version));
    return 0;
  } catch (error) {
    write(io, toCniError(error).toResult(answerIn));
    return 1;
  }
}

async function call(
  plugin: Plugin,
  environment: PluginEnvironment,
  request: PluginRequest,
): Promise<Result | undefined> {
  const { command, containerId, interfaceName, networkNamespace } = environment;
  const attachment = { ...request, containerId, interfaceName };
  const previousResult = previousResultOf(environment, request);
  switch (command) {
    case "ADD":
      return await plugin.add({ ...attachment, ...required({ networkNamespace }), previousResult });
    case "DEL":
      await plugin.del({ ...attachment, networkNamespace, previousResult });
      return undefined;
    case "CHECK":
      await plugin.check({ ...attachment, ...required({ networkNamespace, previousResult }) });
      return undefined;
    case "GC": {
      const validAttachments = parseValidAttachments(request.configuration);
      await plugin.gc?.({ ...request, validAttachments });
      return undefined;
    }
    case "STATUS":
      await plugin.status?.(request);
      return undefined;
    case "VERSION":
      return undefined;
  }
}

const commandOf = ({ environment: { CNI_COMMAND = "" } }: PluginIo): string => CNI_COMMAND;

/** Narrows what the table of requirements has already enforced. */
function required<T extends object>(values: T): { [K in keyof T]: NonNullable<T[K]> } {
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined || value === null)
      throw new CniError(CODE.invalidConfiguration, `${name} is missing`);
  }
  return values as { [K in keyof T]: NonNullable<T[K]> };
}

function readStdin(io: PluginIo): Uint8Array {
  let stdin: Uint8Array;
  try {
    stdin = io.readStdin(STDIN_LIMIT);
  } catch (cause) {
    throw new CniError(CODE.io, "cannot read the configuration on standard input", { cause });
  }
  if (stdin.length > STDIN_LIMIT) {
    throw new CniError(CODE.io, `the configuration on standard input is longer than ${STDIN_LIMIT} bytes`);
  }
  return stdin;
}

/** VERSION answers with the version that it was asked in, if it was. */
function versionAsked(stdin: Uint8Array): string | undefined {
  if (stdin.length === 0) return undefined;
  const input = parseJson(stdin, "standard input");
  return new JsonFields(input, "standard input", CODE.decoding).optionalString("cniVersion");
}

function agreeOnVersion(plugin: Plugin, configuration: NetworkConfiguration): CniVersion {
  const version = plugin.versions.find((v) => v === configuration.cniVersion);
  if (version !== undefined) return version;
  throw new CniError(CODE.incompatibleVersion, "incompatible CNI versions", {
    details: `The configuration is ${configuration.cniVersion}; ${plugin.name} supports ${plugin.versions.join(", ")}`,
    hint: "Change cniVersion in the network configuration to one of these.",
  });
}

function refuseTooOld({ command }: PluginEnvironment, version: CniVersion): void {
  const { since } = REQUIREMENTS[command];
  if (versionAtLeast(version, since)) return;
  throw new CniError(CODE.incompatibleVersion, `${command} needs CNI version ${since} or later`, {
    details: `The configuration is ${version}`,
  });
}

/** A plugin that took its own namespace for the container's would configure, and delete, links of the host. */
function refuseOwnNamespace({ networkNamespace, namespaceOverride }: PluginEnvironment, io: PluginIo): void {
  if (networkNamespace === undefined || namespaceOverride) return;
  const identity = io.namespaceIdentity(networkNamespace);
  if (identity !== undefined && identity === io.namespaceIdentity("self")) {
    throw new CniError(CODE.invalidNamespace, `CNI_NETNS ${networkNamespace} is the plugin's own namespace`, {
      hint: "Name the container's namespace, or set CNI_NETNS_OVERRIDE=1 if this is meant.",
    });
  }
}

function previousResultOf({ command }: PluginEnvironment, request: PluginRequest): Result | undefined {
  const need = REQUIREMENTS[command].previousResult;
  if (need === "none") return undefined;
  const { prevResult } = request.configuration;
  if (prevResult !== undefined) return parseResult(prevResult, request.version, "prevResult").result;
  if (need === "optional") return undefined;
  throw new CniError(CODE.invalidConfiguration, `${command} needs prevResult in the network configuration`);
}

function write(io: PluginIo, value: object): void {
  io.writeStdout(`${JSON.stringify(value, undefined, 2)}\n`);
}
