/** From nodes and pods to endpoints, and from paths to open namespaces. */
import { describeError, familyOf, hintOf, type IpAddress, WeftError } from "@weft/base";
import { type NetnsHandle, openNetns } from "@weft/kernel/netns";
import type { CheckInput, EndpointSummary, SetupError } from "./types.ts";

export interface Endpoint extends EndpointSummary {
  readonly namespacePath: string | undefined;
  readonly interface: string | undefined;
  /** Largest packet promised, in bytes; only pods with a namespace of their own have a promise. */
  readonly mtu: number | undefined;
}

/** IPv4's least MTU that anybody uses; below it a request of ours would not fit. */
const LEAST_MTU = 256;

/** Nodes first, then pods. Throws "invalid" when two have one name, as the report could not tell them apart. */
export function endpointsOf(input: CheckInput, errors: SetupError[]): Endpoint[] {
  const endpoints: Endpoint[] = [];
  const nodes = new Map(input.nodes.map((node) => [node.name, node]));
  for (const node of input.nodes) {
    endpoints.push({
      name: node.name,
      kind: "node",
      node: node.name,
      addresses: node.addresses,
      namespacePath: node.namespacePath,
      interface: undefined,
      mtu: undefined,
    });
  }
  for (const pod of input.pods) {
    const name = `${pod.namespace}/${pod.name}`;
    const host = pod.hostNetwork ? nodes.get(pod.node) : undefined;
    if (pod.hostNetwork && host === undefined) {
      errors.push({ subject: name, message: `its node "${pod.node}" is not among the nodes checked` });
    }
    const usable = Number.isInteger(pod.mtu) && pod.mtu >= LEAST_MTU && pod.mtu <= 65535;
    if (!pod.hostNetwork && !usable) {
      errors.push({ subject: name, message: `its MTU of ${pod.mtu} is not ${LEAST_MTU} to 65535 bytes` });
    }
    endpoints.push({
      name,
      kind: pod.hostNetwork ? "host-pod" : "pod",
      node: pod.node,
      addresses: pod.addresses.length === 0 && host !== undefined ? host.addresses : pod.addresses,
      namespacePath: pod.hostNetwork ? host?.namespacePath : pod.namespacePath,
      interface: pod.interface,
      mtu: pod.hostNetwork || !usable ? undefined : pod.mtu,
    });
  }
  if (endpoints.length === 0)
    errors.push({ subject: "network", message: "there is no node and no pod to test" });
  const names = new Set<string>();
  for (const { name, addresses } of endpoints) {
    if (names.has(name)) {
      throw new WeftError("invalid", `two endpoints are called "${name}"`, {
        object: name,
        hint: "Give every node and every pod of a namespace a name of its own.",
      });
    }
    names.add(name);
    if (addresses.length === 0) errors.push({ subject: name, message: "it has no address" });
  }
  return endpoints;
}

export const familiesOf = (addresses: readonly IpAddress[]): ReadonlySet<number> =>
  new Set(addresses.map(familyOf));

/** The namespaces of endpoints, each held open once however many names it has. */
export class Namespaces {
  readonly #byIdentity = new Map<string, NetnsHandle>();

  /** Undefined, with a named error, when the endpoint's namespace cannot be opened. */
  open(endpoint: Endpoint, errors: SetupError[]): NetnsHandle | undefined {
    if (endpoint.namespacePath === undefined) return undefined;
    try {
      const handle = openNetns(endpoint.namespacePath);
      const known = this.#byIdentity.get(handle.identity);
      if (known === undefined) {
        this.#byIdentity.set(handle.identity, handle);
        return handle;
      }
      handle.close();
      return known;
    } catch (error) {
      errors.push(setupError(endpoint.name, "its network namespace cannot be opened", error));
      return undefined;
    }
  }

  close(): void {
    for (const handle of this.#byIdentity.values()) handle.close();
    this.#byIdentity.clear();
  }
}

export function setupError(subject: string, what: string, error: unknown): SetupError {
  const hint = hintOf(error);
  return {
    subject,
    message: `${what}: ${describeError(error)}`,
    ...(hint === undefined ? {} : { hint }),
  };
}
