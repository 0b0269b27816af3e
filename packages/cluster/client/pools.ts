/**
 * IPPools and IPBlocks by the API: what the engine of a node needs (packages/ipam/pools/port.ts), one request each.
 *
 * Writes of blocks are conditional, always: who creates one that is there gets "exists", who replaces or removes one that
 * somebody has changed gets "conflict". No write is repeated here, because an answer that is lost says nothing of what
 * became of it: who gets "unavailable" or "timeout" reads first.
 */
import { isNotFound, WeftError } from "@weft/base";
import type { IpBlock, IpPool } from "@weft/model";
import { type Fault, Field, faultText } from "../field.ts";
import { type BlockReport, ipBlockObject, ipBlockStatus, type NewBlock, readIpBlock } from "../ip-block.ts";
import { readIpPool } from "../ip-pool.ts";
import { noNotes } from "../unhonoured.ts";
import type { ApiClient } from "./http.ts";
import { IP_BLOCKS, IP_POOLS, type KubernetesObject, pathOf } from "./resource.ts";
import { ApiError } from "./status-error.ts";
import { type CallOptions, createObject, getObject, updateObject, updateStatus } from "./write.ts";

/** All reject with WeftError. */
export interface PoolsApi {
  /** Undefined when there is none of that name. */
  pool(name: string, signal: AbortSignal): Promise<IpPool | undefined>;
  block(name: string, signal: AbortSignal): Promise<IpBlock | undefined>;
  /** Claims: "exists" when somebody has it. */
  create(block: NewBlock, signal: AbortSignal): Promise<IpBlock>;
  /** "conflict" when it is no longer of that version, "not-found" when it is gone. */
  replace(block: IpBlock, signal: AbortSignal): Promise<IpBlock>;
  /** That version alone, or "conflict"; resolves when there is none of that name. */
  remove(block: Pick<IpBlock, "name" | "uid" | "resourceVersion">, signal: AbortSignal): Promise<void>;
  writeStatus(block: IpBlock, report: BlockReport, signal: AbortSignal): Promise<IpBlock>;
}

/** `timeout` of one request, in milliseconds. */
export function createPoolsApi(client: ApiClient, timeout = 10_000): PoolsApi {
  const read = (signal: AbortSignal): CallOptions => ({ signal, timeout, retries: 1 });
  const write = (signal: AbortSignal): CallOptions => ({ signal, timeout, retries: 0 });
  return {
    pool: (name, signal) =>
      orUndefined(async () => decodePool(await getObject(client, IP_POOLS, { name }, read(signal)))),
    block: (name, signal) =>
      orUndefined(async () => decodeBlock(await getObject(client, IP_BLOCKS, { name }, read(signal)))),
    create: async ({ prefix, pool, poolUid, node, tunnelAddress, loans }, signal) => {
      const object = ipBlockObject({ prefix, pool, poolUid, node, tunnelAddress, loans });
      return decodeBlock(await createObject(client, IP_BLOCKS, object, write(signal)));
    },
    replace: async (block, signal) =>
      decodeBlock(await updateObject(client, IP_BLOCKS, versioned(block), write(signal))),
    remove: async ({ name, uid, resourceVersion }, signal) => {
      await orUndefined(() =>
        client.request({
          method: "DELETE",
          path: pathOf(IP_BLOCKS, { name }),
          body: { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid, resourceVersion } },
          ...write(signal),
        }),
      );
    },
    writeStatus: async (block, report, signal) => {
      const object = { ...versioned(block), status: ipBlockStatus(report) };
      return decodeBlock(await updateStatus(client, IP_BLOCKS, object, write(signal)));
    },
  };
}

/** A replacement without a version would be one without a condition. */
function versioned(block: IpBlock): KubernetesObject {
  if (block.resourceVersion !== "" && block.uid !== "") return ipBlockObject(block);
  throw new WeftError("internal", `IPBlock ${block.name} is written without knowing its version`, {
    object: `IPBlock ${block.name}`,
  });
}

/** Throws "invalid" with all faults. */
export const decodePool = (object: KubernetesObject): IpPool =>
  whole("IPPool", object, (field) => readIpPool(field, noNotes()));

/** Throws "invalid" with all faults. Without `allocations` the row has none. */
export const decodeBlock = (object: KubernetesObject, allocations = true): IpBlock =>
  whole("IPBlock", object, (field) => readIpBlock(field, noNotes(), allocations));

function whole<Row>(kind: string, object: KubernetesObject, read: (field: Field) => Row): Row {
  const faults: Fault[] = [];
  const row = read(new Field(object, [], faults));
  if (faults.length === 0) return row;
  throw new WeftError("invalid", faults.map(faultText).join("; "), {
    object: `${kind} ${object.metadata.name}`,
    hint: `Correct it, or delete it: kubectl edit ${kind.toLowerCase()} ${object.metadata.name}`,
  });
}

async function orUndefined<T>(ask: () => Promise<T>): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof ApiError && isNotFound(error)) return undefined;
    throw error;
  }
}
