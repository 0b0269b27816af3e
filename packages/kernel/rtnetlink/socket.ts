/** A routing socket in one namespace, with links by name. */

import { NETLINK, NetlinkSocket, NetlinkWriter } from "../netlink/index.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import { ERRNO, SysError, sysError } from "../sys/errno.ts";
import { linkNameOf } from "../sys/socket.ts";
import { IFLA, RTEXT_FILTER_SKIP_STATS, RTM } from "./constants.ts";
import { headerView, linkHeader } from "./headers.ts";

/** The longest name of a link, in bytes (IFNAMSIZ - 1). */
const NAME_MAX = 15;

export class RtnetlinkSocket {
  readonly #socket: NetlinkSocket;

  constructor(namespace: number, options: { readonly receiveBuffer?: number } = {}) {
    this.#socket = new NetlinkSocket(NETLINK.route, { namespace, ...options });
  }

  get netlink(): NetlinkSocket {
    return this.#socket;
  }

  request(message: NetlinkWriter, call: string, object: string): NetlinkMessage[] {
    return this.#socket.request(message.finish(), { call, object });
  }

  dump(message: NetlinkWriter, call: string, object: string): NetlinkMessage[] {
    return this.#socket.dump(message.finish(), { call, object });
  }

  /** The kernel's description of one link, undefined when there is none of that name. */
  describe(name: string): NetlinkMessage | undefined {
    if (new TextEncoder().encode(name).length > NAME_MAX || name === "") return undefined;
    const message = new NetlinkWriter()
      .begin(RTM.getLink, 0)
      .raw(linkHeader())
      .string(IFLA.name, name)
      .u32(IFLA.extMask, RTEXT_FILTER_SKIP_STATS);
    try {
      return this.request(message, "RTM_GETLINK", `link ${name}`)[0];
    } catch (error) {
      if (error instanceof SysError && error.code === "not-found") return undefined;
      throw error;
    }
  }

  /** Undefined when there is none of that name. */
  findIndex(name: string): number | undefined {
    const link = this.describe(name);
    return link === undefined ? undefined : headerView(link.payload, 16, "a link").getInt32(4, true);
  }

  /** Throws "not-found". */
  indexOf(name: string): number {
    const index = this.findIndex(name);
    if (index === undefined) throw sysError("RTM_GETLINK", ERRNO.ENODEV, `link ${name}`);
    return index;
  }

  /** Undefined when it is gone. */
  nameOf(index: number): string | undefined {
    return linkNameOf(this.#socket.fd, index);
  }

  /** nameOf with a memory, for the length of one dump. */
  names(): (index: number) => string | undefined {
    const known = new Map<number, string | undefined>();
    return (index) => {
      if (!known.has(index)) known.set(index, this.nameOf(index));
      return known.get(index);
    };
  }

  close(): void {
    this.#socket.close();
  }
}
