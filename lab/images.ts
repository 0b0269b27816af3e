/** What an image of a container means in the lab: a built-in workload or a command of this machine. Pure. */

import { WeftError } from "@weft/base";
import { type Container, originText, type Pod } from "@weft/model";

export interface ContainerCommand {
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** TCP ports that it listens on once it is ready. */
  readonly ports: readonly number[];
}

export interface PodPlace {
  readonly node: string;
  readonly addresses: readonly string[];
}

/** Built-in workloads: arguments of the weft executable, or a command of this machine. */
const BUILT_IN: Readonly<Record<string, (executable: string) => readonly string[]>> = {
  "weft/echo": (executable) => [executable, "workload", "echo"],
  "weft/pause": () => ["/bin/sleep", "infinity"],
};

/**
 * The command of a container and what its environment adds. Images: a built-in workload ("weft/echo",
 * "weft/pause"; a tag is ignored), "host" with a command, "host/COMMAND", or an absolute path; the container's
 * command and args follow. Throws "invalid" for anything else: nothing is pulled.
 */
export function containerCommand(
  pod: Pod,
  container: Container,
  place: PodPlace,
  executable: string,
): ContainerCommand {
  const argv = resolveImage(container, executable);
  if (argv === undefined || argv.length === 0) {
    throw new WeftError("invalid", `container ${container.name}: ${reason(container)}`, {
      object: originText(pod.origin),
      hint: `Use ${Object.keys(BUILT_IN).join(", ")}, host/COMMAND, or image: host with a command.`,
    });
  }
  return {
    argv,
    environment: {
      HOSTNAME: pod.name,
      POD_NAME: pod.name,
      POD_NAMESPACE: pod.namespace,
      POD_IP: place.addresses[0] ?? "",
      POD_IPS: place.addresses.join(","),
      NODE_NAME: place.node,
      ...container.environment,
    },
    ports: portsOf(container),
  };
}

function resolveImage({ image, command }: Container, executable: string): readonly string[] | undefined {
  if (image.startsWith("/")) return [image, ...command];
  if (image === "host") return command;
  if (/^host\/[^/]+$/.test(image)) return [image.slice("host/".length), ...command];
  const builtIn = BUILT_IN[withoutTag(image)];
  return builtIn === undefined ? undefined : [...builtIn(executable), ...command];
}

/** Only of what we know ourselves: for other commands, running is being ready. */
function portsOf({ image, environment }: Container): readonly number[] {
  if (withoutTag(image) !== "weft/echo") return [];
  return [Number(environment["HTTP_PORT"] ?? 8080), Number(environment["TCP_PORT"] ?? 7000)];
}

const withoutTag = (image: string): string => image.replace(/:[^/]*$/, "");

const reason = ({ image }: Container): string =>
  image === "host"
    ? "image host needs a command"
    : `image "${image}" is not built in, and the lab pulls no images`;
