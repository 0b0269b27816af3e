/**
 * Network configurations (specification section 1): one plugin's, as it comes on its standard input, and a network's,
 * as it lies in /etc/cni/net.d. Keys that are not listed here are the plugin's own, and are kept as they are.
 */
import { CODE } from "../errors.ts";
import { JsonFields, type JsonObject, parseJson } from "./json.ts";
import { checkNetworkName, checkPluginType } from "./names.ts";
import { parseDns } from "./parse-result.ts";
import type { ResultDns } from "./result.ts";
import { compareVersions, DEFAULT_VERSION } from "./version.ts";

/** What both a plugin of a list and a whole configuration have. */
export interface PluginConfiguration {
  /** File name of the plugin's executable. */
  readonly type: string;
  /** What the plugin takes in runtimeConfig. Set by the administrator, not passed on to the plugin. */
  readonly capabilities?: Readonly<Record<string, boolean>>;
  readonly args?: JsonObject;
  readonly ipMasq?: boolean;
  readonly ipam?: JsonObject & { readonly type?: string };
  readonly dns?: ResultDns;
  readonly [key: string]: unknown;
}

/** What a plugin reads on its standard input. */
export interface NetworkConfiguration extends PluginConfiguration {
  /** A well-formed version, though maybe none that we know. "0.1.0" where the input has none. */
  readonly cniVersion: string;
  /** Name of the network. */
  readonly name: string;
  /** Values for the capabilities, from the runtime. See parseCapabilityArguments. */
  readonly runtimeConfig?: JsonObject;
  /** Unread; see parseResult. */
  readonly prevResult?: JsonObject;
}

/** A network: plugins to be run one after the other. */
export interface NetworkConfigurationList {
  readonly cniVersion: string;
  /** Every version that the list may be used with, `cniVersion` included. */
  readonly cniVersions: readonly string[];
  readonly name: string;
  /** The runtime must not call CHECK. */
  readonly disableCheck: boolean;
  /** The runtime must not call GC. */
  readonly disableGC: boolean;
  /** The runtime must not add plugins from files in the directory of the network's name. */
  readonly loadOnlyInlinedPlugins: boolean;
  readonly plugins: readonly PluginConfiguration[];
  readonly [key: string]: unknown;
}

/** One attachment, as GC lists the valid ones. */
export interface Attachment {
  readonly containerId: string;
  readonly interfaceName: string;
}

type Input = Uint8Array | string | JsonObject;

function fieldsOf(input: Input, what: string): JsonFields {
  const value = typeof input === "string" || input instanceof Uint8Array ? parseJson(input, what) : input;
  return new JsonFields(value, what, CODE.invalidConfiguration);
}

function parseName(o: JsonFields): string {
  const name = o.string("name");
  const wrong = checkNetworkName(name);
  if (wrong !== undefined) o.fail("name", `"${name.slice(0, 64)}": ${wrong}`);
  return name;
}

/** Of any number, known or not; only its form is checked. */
function parseWellFormedVersion(o: JsonFields): string {
  const version = o.optionalString("cniVersion") ?? DEFAULT_VERSION;
  compareVersions(version, DEFAULT_VERSION);
  return version;
}

function checkType(o: JsonFields, type: string): void {
  const wrong = checkPluginType(type);
  if (wrong !== undefined) o.fail("type", wrong);
}

function pluginConfigurationOf(o: JsonFields): PluginConfiguration {
  checkType(o, o.string("type"));
  const capabilities = o.optionalFields("capabilities");
  for (const key of Object.keys(capabilities?.object ?? {})) capabilities?.optionalBoolean(key);
  o.optionalFields("args");
  o.optionalBoolean("ipMasq");
  const ipam = o.optionalFields("ipam");
  const ipamType = ipam?.optionalString("type");
  if (ipam !== undefined && ipamType !== undefined) checkType(ipam, ipamType);
  parseDns(o.optionalFields("dns"));
  return withoutNull(o.object) as PluginConfiguration;
}

/** Reads one plugin of a list. Throws CniError 6 for what is no JSON, 7 for what is invalid. */
export function parsePluginConfiguration(input: Input): PluginConfiguration {
  return pluginConfigurationOf(fieldsOf(input, "plugin configuration"));
}

/** Reads what a plugin gets on standard input. Throws CniError 6 for what is no JSON, 7 for what is invalid. */
export function parseNetworkConfiguration(input: Input): NetworkConfiguration {
  const o = fieldsOf(input, "network configuration");
  const cniVersion = parseWellFormedVersion(o);
  const name = parseName(o);
  o.optionalFields("runtimeConfig");
  o.optionalFields("prevResult");
  return { ...pluginConfigurationOf(o), cniVersion, name };
}

/** Reads a network's configuration list. Throws CniError 6 for what is no JSON, 7 for what is invalid. */
export function parseNetworkConfigurationList(input: Input): NetworkConfigurationList {
  const o = fieldsOf(input, "network configuration list");
  const versions = new Set(o.strings("cniVersions"));
  if (versions.size === 0 || o.has("cniVersion")) versions.add(parseWellFormedVersion(o));
  const loadOnlyInlinedPlugins = flag(o, "loadOnlyInlinedPlugins");
  const plugins = o.list("plugins", pluginConfigurationOf);
  // Without the key, plugins may still come from files beside the list.
  if (plugins.length === 0 && (o.has("plugins") || loadOnlyInlinedPlugins)) {
    o.fail("plugins", "must have at least one plugin");
  }
  const cniVersions = [...versions].sort(compareVersions);
  return {
    ...o.object,
    cniVersion: o.optionalString("cniVersion") ?? (cniVersions[0] as string),
    cniVersions,
    name: parseName(o),
    disableCheck: flag(o, "disableCheck"),
    disableGC: flag(o, "disableGC"),
    loadOnlyInlinedPlugins,
    plugins,
  };
}

/** A list of the one plugin of a single configuration (a .conf file). */
export function listOfOne(configuration: NetworkConfiguration): NetworkConfigurationList {
  const { cniVersion, name, ...plugin } = configuration;
  return parseNetworkConfigurationList({ cniVersion, name, loadOnlyInlinedPlugins: true, plugins: [plugin] });
}

/** The specification describes these as a string in one place and as a boolean in another: both are read. */
function flag(o: JsonFields, key: string): boolean {
  const value = o.object[key];
  if (typeof value === "string" && /^(true|false)$/i.test(value)) return value.toLowerCase() === "true";
  return o.optionalBoolean(key) ?? false;
}

const NULLABLE = ["capabilities", "args", "ipMasq", "ipam", "dns", "runtimeConfig", "prevResult"];

/** Null in a well-known key is as good as absent; what null means in the others is the plugin's affair. */
const withoutNull = (o: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(o).filter(([k, v]) => v !== null || !NULLABLE.includes(k)));

/** Keys of GC's list: the first is the specification's, the second the slip of an earlier text that some send. */
export const VALID_ATTACHMENTS_KEYS = ["cni.dev/valid-attachments", "cni.dev/attachments"] as const;

/**
 * The attachments that are valid, from a GC configuration. Null is the empty list (Go). Throws CniError 7 when both
 * keys are absent: taking that for the empty list would remove every attachment there is.
 */
export function parseValidAttachments(configuration: JsonObject): Attachment[] {
  const o = new JsonFields(configuration, "network configuration", CODE.invalidConfiguration);
  const key = VALID_ATTACHMENTS_KEYS.find((k) => Object.hasOwn(configuration, k));
  if (key === undefined) return o.fail(VALID_ATTACHMENTS_KEYS[0], "is missing, and GC needs it");
  return o.list(key, (f) => ({ containerId: f.string("containerID"), interfaceName: f.string("ifname") }));
}
