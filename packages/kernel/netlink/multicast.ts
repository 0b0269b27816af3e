/**
 * Multicast groups of a netlink protocol: two sockets that are members of the same ones.
 *
 *     kernel --+--> bell     read by the runtime's event loop, which throws the bytes away and calls us
 *              +--> mailbox  read by us with recvmsg until it is empty, because the namespace that a message is from
 *                            stands in its control data, which the runtime does not hand out
 *
 * The kernel delivers to the socket that joined last first, so the bell, which joins first, rings when the message
 * is in the mailbox already. Should another kernel have another order, the second look a moment later finds it.
 * The bell never overflows in a way that counts: a full bell is a bell that rings. What the mailbox loses, the
 * kernel tells by ENOBUFS, and the listener hears that something is lost.
 */
import { hasCode, isInvalid } from "@weft/base";
import { inNetns } from "../netns/switch.ts";
import {
  AF,
  bindSocket,
  closeFd,
  MessageReceiver,
  MSG,
  openSocket,
  type ReceivedMessage,
  SOCK,
  SOL_NETLINK,
  setBuffer,
  setOption,
} from "../sys/socket.ts";
import { NETLINK_OPTION } from "./constants.ts";
import { type NetlinkMessage, readMessages } from "./message.ts";
import { netlinkAddress } from "./socket.ts";

const MESSAGE_MAX = 1 << 16;
const SECOND_LOOK_MS = 10;
const DRAIN_MAX = 512;
const BELL_BUFFER = 1 << 16;

export interface MulticastOptions<Event> {
  /** Descriptor of the network namespace to listen in. */
  readonly namespace: number;
  /** NETLINK.route, NETLINK.netfilter */
  readonly protocol: number;
  /** Mask of groups: bit n - 1 is group n. */
  readonly groups: number;
  /** Also hear of changes in every namespace that this one has an id for. */
  readonly allNamespaces: boolean;
  /** Bytes of the kernel's queue for us. */
  readonly receiveBuffer: number;
  /**
   * Events of one datagram's messages. `nsid` is undefined for the own namespace; `fd` is a socket in it. What it
   * throws with code "invalid" counts as lost.
   */
  readonly decode: (messages: readonly NetlinkMessage[], nsid: number | undefined, fd: number) => Event[];
  readonly listener: (event: Event) => void;
  /** What the listener hears when any number of events were lost. */
  readonly lost: Event;
}

/** Events until the returned function is called. */
export function watchMulticast<Event>(options: MulticastOptions<Event>): () => void {
  const watcher = new Watcher(options);
  return () => watcher.stop();
}

class Watcher<Event> {
  readonly #options: MulticastOptions<Event>;
  readonly #receiver = new MessageReceiver(MESSAGE_MAX);
  #mailbox = -1;
  #bell: Bun.Socket | undefined;
  #look: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  constructor(options: MulticastOptions<Event>) {
    this.#options = options;
    this.#open();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#look);
    this.#bell?.terminate();
    this.#bell = undefined;
    if (this.#mailbox >= 0) closeFd(this.#mailbox);
    this.#mailbox = -1;
  }

  #open(): void {
    const bell = join(this.#options, BELL_BUFFER);
    try {
      setOption(bell, SOL_NETLINK, NETLINK_OPTION.noEnobufs, 1);
      this.#mailbox = join(this.#options, this.#options.receiveBuffer);
    } catch (error) {
      closeFd(bell);
      throw error;
    }
    void this.#listen(bell);
  }

  async #listen(fd: number): Promise<void> {
    const options: Bun.FdSocketOptions = {
      fd,
      socket: {
        data: () => this.#drain(),
        close: () => this.#closed(),
        // What the bell has lost does not matter; that it is gone comes by close().
        error: () => {},
      },
    };
    // The runtime takes a descriptor here, its types do not know it.
    const bell = await Bun.connect(options as unknown as Bun.UnixSocketOptions);
    // An open watch keeps no program alive.
    bell.unref();
    if (this.#stopped) bell.terminate();
    else this.#bell = bell;
  }

  /** The runtime gave up a bell that we did not close: take a new pair, and say that events may be lost. */
  #closed(): void {
    if (this.#stopped) return;
    closeFd(this.#mailbox);
    this.#mailbox = -1;
    this.#bell = undefined;
    this.#open();
    this.#options.listener(this.#options.lost);
  }

  #drain(): void {
    if (this.#stopped) return;
    clearTimeout(this.#look);
    for (let count = 0; count < DRAIN_MAX; count++) {
      const more = this.#next();
      if (!more) {
        if (count > 0) this.#lookAgain(SECOND_LOOK_MS);
        return;
      }
    }
    // Others want their turn of the event loop as well.
    this.#lookAgain(0);
  }

  #lookAgain(milliseconds: number): void {
    if (this.#stopped) return;
    this.#look = setTimeout(() => this.#drain(), milliseconds);
    this.#look.unref();
  }

  /** Handles one datagram; false when there is none, or the listener has stopped us. */
  #next(): boolean {
    let events: Event[];
    try {
      const received = this.#receiver.receive(this.#mailbox, MSG.dontwait);
      if (received === undefined) return false;
      events = this.#decode(received);
    } catch (error) {
      // Lost by the kernel, or not to be understood: either way something has changed that we cannot name.
      if (!hasCode(error, "overflow") && !isInvalid(error)) throw error;
      events = [this.#options.lost];
    }
    for (const event of events) {
      if (!this.#stopped) this.#options.listener(event);
    }
    return !this.#stopped;
  }

  #decode(received: ReceivedMessage): Event[] {
    if (received.truncated) return [this.#options.lost];
    return this.#options.decode(readMessages(received.bytes), namespaceId(received), this.#mailbox);
  }
}

/** A nonblocking member of the groups. Membership begins with the last step, so that order is ours. */
function join(
  {
    namespace,
    protocol,
    groups,
    allNamespaces,
  }: Pick<MulticastOptions<unknown>, "namespace" | "protocol" | "groups" | "allNamespaces">,
  receiveBuffer: number,
): number {
  const fd = inNetns(namespace, () => openSocket(AF.netlink, SOCK.raw | SOCK.nonblock, protocol));
  try {
    setBuffer(fd, "receive", receiveBuffer);
    if (allNamespaces) setOption(fd, SOL_NETLINK, NETLINK_OPTION.listenAllNsid, 1);
    bindSocket(fd, netlinkAddress(groups));
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** Undefined for the watcher's own namespace. */
function namespaceId(received: ReceivedMessage): number | undefined {
  const control = received.control.find(
    (c) => c.level === SOL_NETLINK && c.type === NETLINK_OPTION.listenAllNsid && c.data.length >= 4,
  );
  if (control === undefined) return undefined;
  return new DataView(control.data.buffer, control.data.byteOffset, 4).getInt32(0, true);
}
