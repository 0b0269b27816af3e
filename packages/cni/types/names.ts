/** Names that the specification restricts. Each check gives undefined, or what is wrong. */

/** Network names and container ids: alphanumeric, then alphanumerics, underscore, dot or hyphen. */
const IDENTIFIER = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

export function checkNetworkName(name: string): string | undefined {
  return IDENTIFIER.test(name)
    ? undefined
    : "a network name starts with a letter or digit and has only letters, digits, _ . -";
}

export function checkContainerId(id: string): string | undefined {
  return IDENTIFIER.test(id)
    ? undefined
    : "a container id starts with a letter or digit and has only letters, digits, _ . -";
}

/** Longest name of a Linux interface, in bytes (IFNAMSIZ without the end). */
const LONGEST_INTERFACE_NAME = 15;

export function checkInterfaceName(name: string): string | undefined {
  if (name === "") return "an interface name is not empty";
  if (name === "." || name === "..") return `"${name}" is no interface name`;
  if (Buffer.byteLength(name) > LONGEST_INTERFACE_NAME) {
    return `an interface name has at most ${LONGEST_INTERFACE_NAME} bytes`;
  }
  if (/[/:\s]/u.test(name)) return "an interface name has no slash, colon or white space";
  return undefined;
}

/** The `type` of a plugin is the name of its executable. */
export function checkPluginType(type: string): string | undefined {
  if (type === "") return "the type of a plugin is not empty";
  if (type === "." || type === ".." || /[/\\\0]/.test(type)) {
    return "the type of a plugin is a file name, without slashes";
  }
  return undefined;
}
