/** The environment of a plugin, checked as a whole: every missing and every invalid variable is named at once. */
import { CniError, CODE } from "../errors.ts";
import { checkContainerId, checkInterfaceName } from "../types/names.ts";
import { type Command, isCommand, REQUIREMENTS, type Variable } from "./requirements.ts";

export interface PluginEnvironment {
  readonly command: Command;
  /** Empty where the command does not require it and it is not set. */
  readonly containerId: string;
  readonly networkNamespace: string | undefined;
  readonly interfaceName: string;
  readonly args: string;
  readonly path: readonly string[];
  /** The plugin's own namespace is allowed as CNI_NETNS. */
  readonly namespaceOverride: boolean;
}

const CHECKS: readonly [Variable, (value: string) => string | undefined][] = [
  ["CNI_CONTAINERID", checkContainerId],
  ["CNI_IFNAME", checkInterfaceName],
];

/** Reads the CNI_ variables for the command in CNI_COMMAND. Throws CniError 4. */
export function parseEnvironment(
  environment: Readonly<Record<string, string | undefined>>,
): PluginEnvironment {
  const get = (name: Variable | "CNI_COMMAND"): string => environment[name] ?? "";
  const command = get("CNI_COMMAND");
  if (!isCommand(command)) {
    throw new CniError(CODE.invalidEnvironment, `CNI_COMMAND: unknown command "${command.slice(0, 32)}"`, {
      hint: `Commands are ${Object.keys(REQUIREMENTS).join(", ")}.`,
    });
  }
  const { variables } = REQUIREMENTS[command];
  const missing = variables.filter((v) => get(v) === "");
  if (missing.length > 0) {
    throw new CniError(CODE.invalidEnvironment, `${command} needs ${missing.join(", ")} in the environment`);
  }
  const wrong = CHECKS.filter(([variable]) => variables.includes(variable))
    .map(([variable, check]) => ({ variable, why: check(get(variable)) }))
    .filter(({ why }) => why !== undefined);
  if (wrong.length > 0) {
    const text = wrong.map(({ variable, why }) => `${variable}: ${why}`).join("; ");
    throw new CniError(CODE.invalidEnvironment, text);
  }
  return {
    command,
    containerId: get("CNI_CONTAINERID"),
    networkNamespace: get("CNI_NETNS") || undefined,
    interfaceName: get("CNI_IFNAME"),
    args: get("CNI_ARGS"),
    path: get("CNI_PATH")
      .split(":")
      .filter((d) => d !== ""),
    namespaceOverride: ["1", "true"].includes(get("CNI_NETNS_OVERRIDE").toLowerCase()),
  };
}
