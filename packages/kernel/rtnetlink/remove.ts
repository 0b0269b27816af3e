/**
 * Deletion of links, off the JavaScript thread. The kernel waits for a grace period of some 30 ms in each
 * RTM_DELLINK, whether it deletes one link or a thousand. One deletion runs at a time; those that are asked for
 * meanwhile are put into a link group and go together in the next one.
 */
import { Attributes, NetlinkWriter } from "../netlink/index.ts";
import { hasErrno } from "../sys/errno.ts";
import { IFLA, RTM } from "./constants.ts";
import { headerView, linkHeader } from "./headers.ts";
import { RtnetlinkSocket } from "./socket.ts";

/** Link group of links on their way out ("weft" in ASCII): nobody else's. */
const DOOMED_GROUP = 0x77656674;

interface Request {
  readonly name: string;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

interface Batch {
  readonly socket: RtnetlinkSocket;
  readonly requests: Request[];
}

export class LinkRemover {
  /** By namespace, first come first served. */
  readonly #waiting = new Map<string, Batch>();
  #running = false;

  /** Resolves when the link is gone, or was not there. */
  remove(namespace: { readonly fd: number; readonly identity: string }, name: string): Promise<void> {
    return new Promise((resolve, reject) => {
      let batch = this.#waiting.get(namespace.identity);
      if (batch === undefined) {
        // A socket of its own: the handle's stays free for others, and may be closed meanwhile.
        batch = { socket: new RtnetlinkSocket(namespace.fd), requests: [] };
        this.#waiting.set(namespace.identity, batch);
      }
      batch.requests.push({ name, resolve, reject });
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    // Let all that is asked for in this turn of the event loop come together.
    await Promise.resolve();
    for (let next = this.#waiting.entries().next(); !next.done; next = this.#waiting.entries().next()) {
      const [identity, batch] = next.value;
      this.#waiting.delete(identity);
      try {
        await removeBatch(batch);
      } catch (error) {
        for (const request of batch.requests) request.reject(error);
      } finally {
        batch.socket.close();
      }
    }
    this.#running = false;
  }
}

async function removeBatch({ socket, requests }: Batch): Promise<void> {
  if (requests.length > 1 && (await removeGroup(socket, requests))) {
    for (const request of requests) request.resolve();
    return;
  }
  for (const request of requests) {
    try {
      const index = socket.findIndex(request.name);
      if (index !== undefined) {
        await removeOne(socket, linkHeader(index), `link ${request.name}`);
      }
      request.resolve();
    } catch (error) {
      request.reject(error);
    }
  }
}

async function removeOne(socket: RtnetlinkSocket, header: Uint8Array, object: string): Promise<void> {
  const message = new NetlinkWriter().begin(RTM.delLink, 0).raw(header).finish();
  try {
    await socket.netlink.requestAsync(message, { call: "RTM_DELLINK", object });
  } catch (error) {
    if (!hasErrno(error, "ENODEV")) throw error;
  }
}

/** False when the links must go one by one, because one of them cannot be deleted. */
async function removeGroup(socket: RtnetlinkSocket, requests: readonly Request[]): Promise<boolean> {
  const before: { readonly index: number; readonly group: number }[] = [];
  for (const { name } of requests) {
    const link = socket.describe(name);
    if (link === undefined) continue;
    const index = headerView(link.payload, 16, "a link").getInt32(4, true);
    before.push({ index, group: new Attributes(link.payload, 16).u32(IFLA.group) ?? 0 });
    setGroup(socket, index, DOOMED_GROUP);
  }
  const message = new NetlinkWriter()
    .begin(RTM.delLink, 0)
    .raw(linkHeader())
    .u32(IFLA.group, DOOMED_GROUP)
    .finish();
  try {
    await socket.netlink.requestAsync(message, { call: "RTM_DELLINK", object: "a group of links" });
    return true;
  } catch (error) {
    // Nothing is in the group: all were gone already.
    if (hasErrno(error, "ENODEV")) return true;
    for (const { index, group } of before) setGroup(socket, index, group);
    return false;
  }
}

function setGroup(socket: RtnetlinkSocket, index: number, group: number): void {
  const message = new NetlinkWriter().begin(RTM.setLink, 0).raw(linkHeader(index)).u32(IFLA.group, group);
  try {
    socket.request(message, "RTM_SETLINK", `link number ${index}`);
  } catch (error) {
    if (!hasErrno(error, "ENODEV")) throw error;
  }
}
