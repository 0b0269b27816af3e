/** A Node object as text. */
import { WeftError } from "@weft/base";
import { stringify } from "yaml";
import { parseManifests } from "./manifests.ts";

export interface NodeManifest {
  readonly name: string;
  /** Written as addresses of type InternalIP. */
  readonly addresses: readonly string[];
  /** Empty leaves the node without a pod range. */
  readonly podCIDRs: readonly string[];
}

/**
 * YAML of a Node that `parseManifests` and kubectl read. Throws "invalid" when the node would not be accepted,
 * with every fault.
 */
export function nodeManifest({ name, addresses, podCIDRs }: NodeManifest): string {
  const object = {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name },
    spec: podCIDRs.length === 0 ? {} : { podCIDR: podCIDRs[0], podCIDRs },
    status: {
      addresses: [
        ...addresses.map((address) => ({ type: "InternalIP", address })),
        { type: "Hostname", address: name },
      ],
    },
  };
  // Quoted, because a node may be called "on" or "12".
  const text = stringify(object, {
    defaultStringType: "QUOTE_DOUBLE",
    defaultKeyType: "PLAIN",
    aliasDuplicateObjects: false,
  });
  const { errors } = parseManifests(text, name);
  if (errors.length > 0) {
    throw new WeftError("invalid", `node "${name}" cannot be written: ${errors.join("; ")}`, {
      object: `node ${name}`,
      hint: "Correct the fields named.",
    });
  }
  return text;
}
