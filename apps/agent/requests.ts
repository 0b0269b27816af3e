/** Bodies of requests on the agent's socket, checked: only root can send them, but not only our own plugin does. */
import { WeftError } from "@weft/base";
import {
  checkContainerId,
  checkInterfaceName,
  checkNetworkName,
  type JsonObject,
  parseCapabilityArguments,
} from "@weft/cni";
import type { HostPort } from "@weft/model";
import type { AttachmentRequest, GcRequest } from "@weft/plugin-weft";
import { hostPortsOf } from "./host-ports.ts";

type Fields = Readonly<Record<string, unknown>>;

/** Throws "invalid" with the field. */
export function attachmentRequest(body: unknown): AttachmentRequest {
  const fields = object(body, "the body");
  return {
    network: named(fields["network"], "network", checkNetworkName),
    containerId: named(fields["containerId"], "containerId", checkContainerId),
    interface: named(fields["interface"], "interface", checkInterfaceName),
    namespacePath: optional(fields["namespacePath"], "namespacePath"),
    podNamespace: optional(fields["podNamespace"], "podNamespace"),
    podName: optional(fields["podName"], "podName"),
    podUid: optional(fields["podUid"], "podUid"),
  };
}

/** An attachment to be made, with the ports of the node that are to lead to it. */
export interface AddRequest extends AttachmentRequest {
  readonly hostPorts: readonly HostPort[];
}

/** Throws "invalid" with the field. A plugin of an earlier version knows no port mappings. */
export function addRequest(body: unknown): AddRequest {
  const request = attachmentRequest(body);
  const { portMappings } = body as Fields;
  const given: JsonObject = portMappings === undefined ? {} : { portMappings };
  return { ...request, hostPorts: hostPortsOf(parseCapabilityArguments(given).portMappings ?? []) };
}

/** Throws "invalid": a list that was misread would release every attachment that is not on it. */
export function gcRequest(body: unknown): GcRequest {
  const fields = object(body, "the body");
  const list = fields["validAttachments"];
  if (!Array.isArray(list)) throw invalid("validAttachments must be a list");
  return {
    network: named(fields["network"], "network", checkNetworkName),
    validAttachments: list.map((item: unknown, i) => {
      const at = `validAttachments[${i}]`;
      const attachment = object(item, at);
      return {
        containerId: named(attachment["containerId"], `${at}.containerId`, checkContainerId),
        interfaceName: named(attachment["interfaceName"], `${at}.interfaceName`, checkInterfaceName),
      };
    }),
  };
}

/** Milliseconds, at most a day: a pause that somebody forgot must end. Throws "invalid". */
export function pauseRequest(body: unknown): number {
  const ms = object(body, "the body")["milliseconds"];
  if (typeof ms === "number" && ms >= 0 && ms <= 86_400_000) return ms;
  throw invalid("milliseconds must be a number from 0 to 86400000");
}

/** An address, namespace/pod or container that is to be released by hand. */
export interface ReleaseRequest {
  readonly what: string;
  /** Also while its holder lives, who then loses its network. */
  readonly force: boolean;
}

/** Throws "invalid" with the field. */
export function releaseRequest(body: unknown): ReleaseRequest {
  const { what, force = false } = object(body, "the body");
  if (typeof what !== "string" || what === "" || what.length > 512)
    throw invalid("what must be an address, namespace/pod, or the id of a container");
  if (typeof force !== "boolean") throw invalid("force must be true or false");
  return { what, force };
}

/** Which service is meant. Throws "invalid". */
export function serviceRequest(body: unknown): { readonly namespace: string; readonly name: string } {
  const fields = object(body, "the body");
  const text = (field: "namespace" | "name"): string => {
    const value = fields[field];
    if (typeof value === "string" && value !== "" && value.length <= 253) return value;
    throw invalid(`${field} must be a name`);
  };
  return { namespace: text("namespace"), name: text("name") };
}

function object(value: unknown, what: string): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw invalid(`${what} must be an object`);
}

function named(value: unknown, field: string, check: (name: string) => string | undefined): string {
  if (typeof value !== "string") throw invalid(`${field} must be a string`);
  const wrong = check(value);
  if (wrong !== undefined) throw invalid(`${field}: ${wrong}`);
  return value;
}

function optional(value: unknown, field: string): string | undefined {
  if (value === undefined || typeof value === "string") return value;
  throw invalid(`${field} must be a string, or be left out`);
}

const invalid = (message: string): WeftError =>
  new WeftError("invalid", message, { hint: "Plugin and agent may be of different versions." });
