/**
 * Deletion of links, off the JavaScript thread. The kernel waits for a grace period of some 20 ms in each
 * RTM_DELLINK, whether it deletes one link or a thousand, and most of that after the link is gone from every
 * list and its event was sent. So a deletion is over for whoever asked at the event, or at the kernel's answer,
 * whichever is first. A few deletions run at a time; links that are asked for meanwhile are put into a link
 * group and go together in the next one.
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

interface Doomed {
  readonly index: number;
  /** Link group that it is in: it goes back there when it cannot be deleted. */
  readonly group: number;
}

interface Batch {
  readonly socket: RtnetlinkSocket;
  readonly requests: Request[];
}

/** Grace periods that are waited for at a time: each costs a thread. */
const AT_ONCE = 3;

export class LinkRemover {
  /** By namespace, first come first served. */
  readonly #waiting = new Map<string, Batch>();
  /** Links on their way out of the namespace that events are heard of, by index. */
  readonly #leaving = new Map<number, () => void>();
  #heard: string | undefined;
  #running = 0;

  /** From now on `gone` is called for every link that leaves the namespace of that identity. */
  hears(identity: string): void {
    this.#heard = identity;
  }

  gone(index: number): void {
    this.#leaving.get(index)?.();
  }

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
      if (this.#running < AT_ONCE) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running++;
    // Let all that is asked for in this turn of the event loop come together.
    await Promise.resolve();
    for (let next = this.#waiting.entries().next(); !next.done; next = this.#waiting.entries().next()) {
      const [identity, batch] = next.value;
      this.#waiting.delete(identity);
      try {
        await this.#removeBatch(batch, identity === this.#heard);
      } catch (error) {
        for (const request of batch.requests) request.reject(error);
      } finally {
        batch.socket.close();
      }
    }
    this.#running--;
  }

  async #removeBatch({ socket, requests }: Batch, heard: boolean): Promise<void> {
    const links = new Map<Request, Doomed>();
    for (const request of requests) {
      const link = socket.describe(request.name);
      if (link === undefined) {
        request.resolve();
        continue;
      }
      const index = headerView(link.payload, 16, "a link").getInt32(4, true);
      links.set(request, { index, group: new Attributes(link.payload, 16).u32(IFLA.group) ?? 0 });
      if (heard) this.#leaving.set(index, request.resolve);
    }
    try {
      if (links.size > 1 && (await removeGroup(socket, [...links.values()]))) {
        for (const request of links.keys()) request.resolve();
        return;
      }
      for (const [{ name, resolve, reject }, { index }] of links) {
        await removeOne(socket, linkHeader(index), `link ${name}`).then(resolve, reject);
      }
    } finally {
      for (const { index } of links.values()) this.#leaving.delete(index);
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
async function removeGroup(socket: RtnetlinkSocket, links: readonly Doomed[]): Promise<boolean> {
  for (const { index } of links) setGroup(socket, index, DOOMED_GROUP);
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
    for (const { index, group } of links) setGroup(socket, index, group);
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
