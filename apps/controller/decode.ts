/** Nodes and agents' pods of the API into what the controller looks at. Whatever is missing or malformed counts as not there. */
import type { KubernetesObject } from "@weft/cluster/client";
import { NETWORK_LABEL } from "@weft/model";
import { CONDITION, type NodeRow, STARTUP_TAINT } from "./node-state.ts";
import { nodeRanges } from "./pools/decode.ts";

export interface AgentPod {
  readonly node: string;
  readonly ready: boolean;
}

type Fields = Readonly<Record<string, unknown>>;

const fields = (value: unknown): Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
const list = (value: unknown): Fields[] => (Array.isArray(value) ? value.map(fields) : []);
const text = (value: unknown): string => (typeof value === "string" ? value : "");

const condition = (object: KubernetesObject, type: string): Fields | undefined =>
  list(fields(object["status"])["conditions"]).find((c) => c["type"] === type);

export function decodeNode(object: KubernetesObject): NodeRow {
  const network = condition(object, CONDITION);
  return {
    name: object.metadata.name,
    uid: object.metadata.uid,
    network:
      network === undefined
        ? undefined
        : { status: text(network["status"]), reason: text(network["reason"]) },
    hasStartupTaint: taintsOf(object).some((t) => t["key"] === STARTUP_TAINT),
    isOthers: fields(object.metadata["labels"])[NETWORK_LABEL] === "other",
    ...nodeRanges(object),
  };
}

export const taintsOf = (object: KubernetesObject): Fields[] => list(fields(object["spec"])["taints"]);

/** Undefined for a pod that is bound to no node. One that is being deleted serves no more. */
export function decodePod(object: KubernetesObject): AgentPod | undefined {
  const node = text(fields(object["spec"])["nodeName"]);
  if (node === "") return undefined;
  const leaving = object.metadata["deletionTimestamp"] !== undefined;
  return { node, ready: !leaving && condition(object, "Ready")?.["status"] === "True" };
}
