/** What the engine of pools does, for people who look with kubectl. */
import type { EventInput, EventRecorder, ObjectReference } from "@weft/cluster/client";
import { type PoolEvent, useOf } from "@weft/ipam";
import { POOLS_API_VERSION } from "@weft/model";

/** Pods that one event names; the rest is a number. */
const NAMED_PODS = 10;

export function tellEvent(recorder: EventRecorder, node: string, event: PoolEvent): void {
  for (const input of eventsOf(node, event)) recorder.record(input);
}

export function eventsOf(node: string, event: PoolEvent): EventInput[] {
  const regarding: ObjectReference = { apiVersion: "v1", kind: "Node", name: node };
  const action = "Allocating";
  switch (event.type) {
    case "claimed": {
      const note = `block ${event.block} of pool ${event.pool} is node ${node}'s`;
      return [{ regarding, type: "Normal", reason: "BlockClaimed", action, note }];
    }
    case "borrowed": {
      const whom = event.pod === undefined ? "the end of its tunnels" : `pod ${event.pod}`;
      const why = event.wanted
        ? "its block is another node's"
        : `node ${node} has no block left in pool ${event.pool}`;
      const note = `${why}: ${event.address} of node ${event.lender} is on loan for ${whom}`;
      return [{ regarding, type: "Normal", reason: "AddressBorrowed", action, note }];
    }
    case "exhausted": {
      const { name, uid } = event.pool;
      const counts = event.size === 0 ? "" : `: ${useOf(event.used, event.size)}`;
      const note = `pool ${name} has no address left for node ${node}${counts}; see \`weft ipam show\``;
      const pool = { apiVersion: POOLS_API_VERSION, kind: "IPPool", name, uid };
      return [regarding, pool].map((about) => ({
        regarding: about,
        type: "Warning",
        reason: "PoolExhausted",
        action,
        note,
      }));
    }
    case "lost": {
      const { pods, block, to } = event;
      const more = pods.length > NAMED_PODS ? ` and ${pods.length - NAMED_PODS} more` : "";
      const who = to === undefined ? "is gone with its pool" : `belongs to node ${to} now`;
      const note = `block ${block} ${who}: restart ${pods.slice(0, NAMED_PODS).join(", ")}${more}, which have addresses of it on node ${node}`;
      return [{ regarding, type: "Warning", reason: "BlockLost", action, note }];
    }
  }
}
