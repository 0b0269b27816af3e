/**
 * IPBlock: a part of a pool that a node has claimed, by creating the object. Agents and the controller write it; people
 * read it. Its name follows from its range, so that a range cannot be claimed twice.
 */
import {
  ADDRESS,
  CIDR,
  count,
  type Definition,
  definition,
  described,
  NAME,
  object,
  TIME,
  text,
} from "./shared.ts";

/** No block has more addresses. */
const MOST = 4096;

const LOAN = object(
  {
    id: text(63, "Made up by the borrower."),
    node: described(NAME, "The borrower."),
    wanted: described(ADDRESS, "The address that is asked for. Absent: any."),
    address: described(ADDRESS, "The address, written by the lender."),
    refused: text(1024, "Written by the lender instead of an address: why not."),
    returned: { type: "boolean", description: "The borrower is done with it." },
    tunnel: { type: "boolean", description: "It is the borrower's end of its tunnel, no pod's." },
    pod: text(317, "The pod that it is for, as namespace/name."),
  },
  ["id", "node"],
);

const ALLOCATION = object(
  {
    address: ADDRESS,
    pod: text(317, "The pod that has it, as namespace/name."),
    podUID: text(128, "uid of the pod."),
    containerID: text(128, "The runtime's name of its sandbox."),
    node: described(NAME, "The node that it is lent to. Absent: the block's own."),
    since: TIME,
  },
  ["address"],
);

export const IP_BLOCK_DEFINITION: Definition = definition(
  { kind: "IPBlock", plural: "ipblocks", shortName: "ipb" },
  object(
    {
      spec: object(
        {
          cidr: described(CIDR, "Its range."),
          pool: described(NAME, "The pool that it is of."),
          poolUID: text(128, "uid of that pool."),
          node: described(
            NAME,
            "The node that gives its addresses out. Absent: it is gone, and loans are waited for.",
          ),
          tunnelAddress: described(ADDRESS, "The node's end of its tunnels."),
          loans: {
            type: "array",
            maxItems: MOST,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["id"],
            items: LOAN,
            description: "Addresses that other nodes have of it, or ask for.",
          },
        },
        ["cidr", "pool", "poolUID"],
      ),
      status: object({
        allocations: {
          type: "array",
          maxItems: MOST,
          items: ALLOCATION,
          description: "Who has its addresses, copied from the node's ledger.",
        },
        used: count("Addresses in use, those on loan among them."),
        free: count("Addresses that can still be had."),
        loans: count("Addresses on loan."),
        reported: described(TIME, "When its node wrote this."),
      }),
    },
    ["spec"],
    "A part of an IPPool, whose addresses one node gives out.",
  ),
  [
    { name: "CIDR", type: "string", jsonPath: ".spec.cidr" },
    { name: "Pool", type: "string", jsonPath: ".spec.pool" },
    { name: "Node", type: "string", jsonPath: ".spec.node" },
    { name: "Used", type: "integer", jsonPath: ".status.used" },
    { name: "Free", type: "integer", jsonPath: ".status.free" },
    { name: "Loans", type: "integer", jsonPath: ".status.loans" },
  ],
);
