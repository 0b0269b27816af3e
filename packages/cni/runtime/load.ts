/**
 * Network configurations of a directory such as /etc/cni/net.d: every .conf, .conflist and .json file in the order of
 * names. Container runtimes take the first as the network of all pods.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { WeftError } from "@weft/base";
import { CniError, CODE } from "../errors.ts";
import {
  listOfOne,
  type NetworkConfigurationList,
  parseNetworkConfiguration,
  parseNetworkConfigurationList,
  parsePluginConfiguration,
} from "../types/configuration.ts";

export interface LoadedList {
  readonly file: string;
  readonly list: NetworkConfigurationList;
}

export interface LoadFailure {
  readonly file: string;
  readonly error: unknown;
}

/** Files of a directory with one of the extensions, sorted by name; none when there is no directory. */
function filesOf(directory: string, extensions: readonly string[]): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => !entry.isDirectory() && extensions.includes(extname(entry.name)))
      .map((entry) => join(directory, entry.name))
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/**
 * Reads one file: a list, or a single configuration as a list of one. Unless loadOnlyInlinedPlugins is set, the .conf
 * files in the directory beside it that has the network's name are further plugins. Throws CniError with the file.
 */
export function loadConfigurationList(file: string): NetworkConfigurationList {
  try {
    const bytes = readFileSync(file);
    if (extname(file) !== ".conflist") return listOfOne(parseNetworkConfiguration(bytes));
    const list = parseNetworkConfigurationList(bytes);
    if (list.loadOnlyInlinedPlugins) return list;
    const beside = filesOf(join(dirname(file), list.name), [".conf"]);
    const plugins = [...list.plugins, ...beside.map((f) => parsePluginConfiguration(readFileSync(f)))];
    if (plugins.length === 0) throw new CniError(CODE.invalidConfiguration, "the network has no plugins");
    return { ...list, plugins };
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    const code = cause instanceof CniError ? cause.cniCode : CODE.io;
    throw new CniError(code, `${basename(file)}: ${message}`, { object: file, cause });
  }
}

/** Every network of the directory; a file that cannot be read does not hide the others. */
export function loadConfigurationLists(directory: string): {
  readonly lists: readonly LoadedList[];
  readonly failures: readonly LoadFailure[];
} {
  const lists: LoadedList[] = [];
  const failures: LoadFailure[] = [];
  for (const file of filesOf(directory, [".conf", ".conflist", ".json"])) {
    try {
      lists.push({ file, list: loadConfigurationList(file) });
    } catch (error) {
      failures.push({ file, error });
    }
  }
  return { lists, failures };
}

/** The network of that name, or without a name the first one. Throws "not-found", or the error of the first file. */
export function findConfigurationList(directory: string, name?: string): NetworkConfigurationList {
  const { lists, failures } = loadConfigurationLists(directory);
  const found = lists.find(({ list }) => name === undefined || list.name === name);
  if (found !== undefined) return found.list;
  if (failures[0] !== undefined) throw failures[0].error;
  const what = name === undefined ? "no network configuration" : `no network "${name}"`;
  throw new WeftError("not-found", `${what} in ${directory}`, {
    hint: "Install a network's .conflist file there.",
  });
}
