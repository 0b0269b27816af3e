/** IPPool: a range that pods get addresses from, and which pods. People write it; the controller writes its status. */
import {
  CIDR,
  count,
  type Definition,
  definition,
  described,
  object,
  type Schema,
  TIME,
  text,
} from "./shared.ts";

/** LabelSelector (meta/v1). Keys and values are checked by their reader: here they only have a size. */
const selector = (description: string): Schema =>
  object(
    {
      matchLabels: {
        type: "object",
        additionalProperties: { type: "string", maxLength: 63 },
        maxProperties: 64,
      },
      matchExpressions: {
        type: "array",
        maxItems: 64,
        items: object(
          {
            key: { type: "string", minLength: 1, maxLength: 317 },
            operator: { type: "string", enum: ["In", "NotIn", "Exists", "DoesNotExist"] },
            values: { type: "array", maxItems: 256, items: { type: "string", maxLength: 63 } },
          },
          ["key", "operator"],
        ),
      },
    },
    [],
    description,
  );

const SPEC = object(
  {
    cidr: described(CIDR, "The range. Cannot be changed once it has been accepted."),
    blockSize: {
      type: "integer",
      format: "int32",
      minimum: 20,
      maximum: 128,
      description:
        "Prefix length of the blocks that nodes claim: 20 to 32 for IPv4 (26 if absent), 116 to 128 for IPv6 (122 if absent). Cannot be changed once it has been accepted.",
    },
    nodeSelector: selector("Nodes that may claim blocks. Absent: all."),
    namespaceSelector: selector(
      "Pods of these namespaces get addresses of this pool without asking for it. Absent: all.",
    ),
    natOutgoing: {
      type: "boolean",
      description:
        "Whether what its pods send out of the cluster gets the address of their node. Absent: as settings say.",
    },
    disabled: {
      type: "boolean",
      description: "Gives out no address any more; blocks go back as they become empty.",
    },
  },
  ["cidr"],
);

const STATUS = object({
  cidr: described(CIDR, "The range, as it was accepted."),
  blockSize: {
    type: "integer",
    format: "int32",
    description: "Prefix length of blocks, as it was accepted.",
  },
  blocks: count("Blocks that nodes have claimed."),
  nodes: count("Nodes that have any."),
  used: count("Addresses in use."),
  free: count("Addresses that can still be had; 9007199254740991 stands for all numbers above, too."),
  full: text(64, "When it will be full if its use goes on growing as in the last hours: a time, or never."),
  conditions: {
    type: "array",
    maxItems: 16,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
    items: object(
      {
        type: text(316, "Ready: nodes may use this pool."),
        status: { type: "string", enum: ["True", "False", "Unknown"] },
        reason: { type: "string", maxLength: 1024 },
        message: { type: "string", maxLength: 32768 },
        lastTransitionTime: TIME,
        observedGeneration: { type: "integer", format: "int64", minimum: 0 },
      },
      ["type", "status"],
    ),
  },
});

export const IP_POOL_DEFINITION: Definition = definition(
  { kind: "IPPool", plural: "ippools", shortName: "ipp" },
  object({ spec: SPEC, status: STATUS }, ["spec"], "A range of addresses for pods."),
  [
    { name: "CIDR", type: "string", jsonPath: ".spec.cidr" },
    { name: "Block", type: "integer", jsonPath: ".status.blockSize" },
    { name: "Used", type: "integer", jsonPath: ".status.used" },
    { name: "Free", type: "integer", jsonPath: ".status.free" },
    { name: "Ready", type: "string", jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    {
      name: "Reason",
      type: "string",
      jsonPath: '.status.conditions[?(@.type=="Ready")].reason',
      priority: 1,
    },
    { name: "Full", type: "string", jsonPath: ".status.full", priority: 1 },
  ],
);
