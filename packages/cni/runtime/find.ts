/** The executable of a plugin, by its type, in the directories of CNI_PATH. */
import { accessSync, constants, statSync } from "node:fs";
import { join } from "node:path";
import { CniError, CODE } from "../errors.ts";
import { checkPluginType } from "../types/names.ts";
import { PluginExecutionError } from "./errors.ts";

/** The first executable file of that name. Throws PluginExecutionError "absent" or "not-executable". */
export function findPlugin(type: string, path: readonly string[]): string {
  const wrong = checkPluginType(type);
  if (wrong !== undefined) throw new CniError(CODE.invalidConfiguration, wrong);
  let refused: string | undefined;
  for (const directory of path) {
    const file = join(directory, type);
    if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true) continue;
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      refused ??= file;
    }
  }
  if (refused !== undefined) {
    throw new PluginExecutionError("not-executable", `${refused} is not executable`, {
      plugin: type,
      hint: `Run chmod +x ${refused}.`,
    });
  }
  throw new PluginExecutionError(
    "absent",
    `no executable "${type}" in ${path.join(", ") || "an empty path"}`,
    {
      plugin: type,
      hint: "Install the plugin there, or correct the type in the network configuration.",
    },
  );
}
