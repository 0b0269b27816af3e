/**
 * Netlink sockets (netlink(7), RFC 3549): requests with acknowledgement, dumps and batches. A socket stays in the
 * network namespace that it was made in, so one handle works there whichever namespace the thread is in.
 *
 * The kernel handles a request inside send(2): when that returns, the answer is in the receive queue, which is
 * why the calls here are synchronous and take microseconds. Dumps are produced as they are read.
 */
import { WeftError } from "@weft/base";
import { inNetns } from "../netns/switch.ts";
import { hasErrno, type SysError } from "../sys/errno.ts";
import {
  AF,
  bindSocket,
  closeFd,
  MSG,
  openSocket,
  receiveBytes,
  receiveBytesAsync,
  SOCK,
  SOL_NETLINK,
  sendBytes,
  sendBytesAsync,
  setBuffer,
  setOption,
  setReceiveTimeout,
} from "../sys/socket.ts";
import { NETLINK, NETLINK_OPTION, NLM, NLMSG } from "./constants.ts";
import { acknowledgementError, type NetlinkMessage, readAcknowledgement, readMessages } from "./message.ts";

export interface NetlinkSocketOptions {
  /** Descriptor of the network namespace to make it in; default: that of the calling thread. */
  readonly namespace?: number;
  /** Bytes of the kernel's receive queue. Default 1 MiB. */
  readonly receiveBuffer?: number;
  /** Bytes of the largest batch. Default: the system's, some 200 KiB. */
  readonly sendBuffer?: number;
  /** Let the kernel filter dumps and refuse what it does not know. Default true. */
  readonly strict?: boolean;
}

/** What a batch's messages came to, by their index in the batch. */
export interface BatchResult {
  readonly errors: ReadonlyMap<number, SysError>;
  readonly acknowledged: number;
}

/** What was tried, for the error: {call: "RTM_NEWLINK", object: "link weft0"}. */
export interface RequestLabel {
  readonly call: string;
  readonly object?: string;
}

const DUMP_TRIES = 16;
const RECEIVE_TIMEOUT_MS = 10_000;
/** The kernel makes pieces of a dump at most 32 KiB long. */
const DUMP_CHUNK = 64 << 10;

/** struct sockaddr_nl. */
export function netlinkAddress(groups = 0): Uint8Array {
  const address = Buffer.alloc(12);
  address.writeUInt16LE(AF.netlink, 0);
  address.writeUInt32LE(groups, 8);
  return address;
}

const noAnswer = (label: RequestLabel): WeftError =>
  new WeftError("timeout", `${label.call}: no answer from the kernel`, {
    ...(label.object === undefined ? {} : { object: label.object }),
  });

const tooLarge = (length: number, room: number): WeftError =>
  new WeftError("overflow", `a netlink answer of ${length} bytes is larger than ${room}`);

// Synchronous receives of one thread share it: a message is copied out before the next one is read.
let scratch: Uint8Array | undefined;

export class NetlinkSocket {
  readonly protocol: number;
  #fd: number;
  #sequence = 0;
  #sending = false;
  #closeWhenSent = false;

  constructor(protocol: number, options: NetlinkSocketOptions = {}) {
    this.protocol = protocol;
    const make = (): number => openSocket(AF.netlink, SOCK.raw, protocol);
    this.#fd = options.namespace === undefined ? make() : inNetns(options.namespace, make);
    try {
      bindSocket(this.#fd, netlinkAddress());
      setBuffer(this.#fd, "receive", options.receiveBuffer ?? 1 << 20);
      if (options.sendBuffer !== undefined) setBuffer(this.#fd, "send", options.sendBuffer);
      setReceiveTimeout(this.#fd, RECEIVE_TIMEOUT_MS);
      setOption(this.#fd, SOL_NETLINK, NETLINK_OPTION.extAck, 1);
      setOption(this.#fd, SOL_NETLINK, NETLINK_OPTION.capAck, 1);
      if (protocol === NETLINK.route && options.strict !== false) {
        setOption(this.#fd, SOL_NETLINK, NETLINK_OPTION.strictCheck, 1);
      }
    } catch (error) {
      closeFd(this.#fd);
      throw error;
    }
  }

  /** The descriptor, for options of one's own. */
  get fd(): number {
    if (this.#fd < 0) throw new WeftError("invalid", "the netlink socket is closed");
    return this.#fd;
  }

  /**
   * Sends one message and waits for its acknowledgement; the result is what came before that.
   * NLM.request and NLM.ack are added. Throws SysError with the kernel's own words.
   */
  request(message: Uint8Array, label: RequestLabel): NetlinkMessage[] {
    const sequence = this.#send(message, NLM.request | NLM.ack);
    return this.#answer(sequence, label);
  }

  /** Like request, with the sending on another thread: for deletions that the kernel takes its time over. */
  async requestAsync(message: Uint8Array, label: RequestLabel): Promise<NetlinkMessage[]> {
    const sequence = this.#stamp(message, NLM.request | NLM.ack).first;
    this.#sending = true;
    try {
      await sendBytesAsync(this.#fd, message);
    } finally {
      this.#sending = false;
      if (this.#closeWhenSent) this.close();
    }
    return this.#answer(sequence, label);
  }

  /**
   * All entries of a table. A dump during which the table changed is repeated; after 16 tries that is "busy".
   * NLM.request and NLM.dump are added.
   */
  dump(message: Uint8Array, label: RequestLabel): NetlinkMessage[] {
    for (let tries = 0; tries < DUMP_TRIES; tries++) {
      const messages = this.#dumpOnce(message, label);
      if (messages !== undefined) return messages;
    }
    throw new WeftError("busy", `${label.call}: the table changed during each of ${DUMP_TRIES} dumps`, {
      ...(label.object === undefined ? {} : { object: label.object }),
      hint: "Try again when less is changing.",
    });
  }

  /**
   * All entries of a table that is large, or that the kernel takes its time over: it is walked on another thread, and
   * `each` gets the entries as they come. Not repeated when the table changes meanwhile: for tables where that does
   * not make others go missing. NLM.request and NLM.dump are added. After a failure, close the socket: the rest of the
   * dump is still to come.
   */
  async dumpAsync(
    message: Uint8Array,
    label: RequestLabel,
    each: (entry: NetlinkMessage) => void,
  ): Promise<void> {
    const sequence = this.#stamp(message, NLM.request | NLM.dump).first;
    const into = Buffer.from(new ArrayBuffer(DUMP_CHUNK));
    this.#sending = true;
    try {
      await sendBytesAsync(this.#fd, message);
      for (;;) {
        const length = await receiveBytesAsync(this.#fd, into);
        if (length === undefined) throw noAnswer(label);
        if (length > into.length) throw tooLarge(length, into.length);
        for (const answer of readMessages(into.slice(0, length))) {
          if (answer.sequence !== sequence) continue;
          if (answer.type === NLMSG.done || answer.type === NLMSG.error) {
            const end = readAcknowledgement(answer, answer.type === NLMSG.done ? "done" : "error");
            if (end.errno !== 0) throw acknowledgementError(end, label.call, label.object);
            return;
          }
          each(answer);
        }
      }
    } finally {
      this.#sending = false;
      if (this.#closeWhenSent) this.close();
    }
  }

  /**
   * Sends many messages at once, flags as they are, and gathers what the kernel answers. Messages without NLM.ack
   * answer only when they fail. The kernel's receive queue must hold the answers: 1 MiB is about 1,000.
   */
  batch(messages: Uint8Array, label: RequestLabel): BatchResult {
    const { first, count } = this.#stamp(messages, 0);
    this.#sendNow(messages);
    const errors = new Map<number, SysError>();
    let acknowledged = 0;
    for (;;) {
      const answers = this.#receive(MSG.dontwait);
      if (answers === undefined) return { errors, acknowledged };
      for (const answer of answers) {
        const index = (answer.sequence - first) >>> 0;
        if (answer.type !== NLMSG.error || index >= count) continue;
        const acknowledgement = readAcknowledgement(answer, "error");
        if (acknowledgement.errno === 0) acknowledged++;
        else if (!errors.has(index)) {
          errors.set(index, acknowledgementError(acknowledgement, label.call, label.object));
        }
      }
    }
  }

  close(): void {
    if (this.#fd < 0) return;
    if (this.#sending) {
      // The number would be somebody else's descriptor by the time the other thread gets to it.
      this.#closeWhenSent = true;
      return;
    }
    closeFd(this.#fd);
    this.#fd = -1;
  }

  #send(message: Uint8Array, flags: number): number {
    const { first } = this.#stamp(message, flags);
    this.#sendNow(message);
    return first;
  }

  #sendNow(bytes: Uint8Array): void {
    try {
      sendBytes(this.#fd, bytes);
    } catch (error) {
      if (hasErrno(error, "EMSGSIZE")) {
        throw new WeftError(
          "invalid",
          `a netlink batch of ${bytes.length} bytes is larger than its send buffer`,
          {
            hint: "Send less at once, or open the socket with a larger sendBuffer.",
            cause: error,
          },
        );
      }
      throw error;
    }
  }

  /** Writes the next sequence numbers, and flags, into the headers of `messages`. */
  #stamp(messages: Uint8Array, flags: number): { first: number; count: number } {
    const fd = this.fd;
    if (this.#sending) {
      throw new WeftError("busy", `netlink socket ${fd} has a request under way on another thread`);
    }
    const view = new DataView(messages.buffer, messages.byteOffset, messages.length);
    const first = (this.#sequence + 1) >>> 0;
    let count = 0;
    for (let at = 0; at + 16 <= messages.length; count++) {
      view.setUint16(at + 6, view.getUint16(at + 6, true) | flags, true);
      this.#sequence = (this.#sequence + 1) >>> 0;
      view.setUint32(at + 8, this.#sequence, true);
      const length = view.getUint32(at, true);
      if (length < 16) throw new WeftError("invalid", `netlink message ${count} has length ${length}`);
      at += (length + 3) & ~3;
    }
    return { first, count };
  }

  #receive(flags: number): NetlinkMessage[] | undefined {
    scratch ??= new Uint8Array(new ArrayBuffer(1 << 20));
    const length = receiveBytes(this.fd, scratch, flags);
    if (length === undefined) return undefined;
    if (length > scratch.length) {
      throw tooLarge(length, scratch.length);
    }
    return readMessages(scratch.slice(0, length));
  }

  #receiveOrTimeout(label: RequestLabel): NetlinkMessage[] {
    const messages = this.#receive(0);
    if (messages !== undefined) return messages;
    throw noAnswer(label);
  }

  #answer(sequence: number, label: RequestLabel): NetlinkMessage[] {
    const answers: NetlinkMessage[] = [];
    for (;;) {
      for (const message of this.#receiveOrTimeout(label)) {
        // Left over from a request that was given up.
        if (message.sequence !== sequence) continue;
        if (message.type !== NLMSG.error) {
          answers.push(message);
          continue;
        }
        const acknowledgement = readAcknowledgement(message, "error");
        if (acknowledgement.errno !== 0) {
          throw acknowledgementError(acknowledgement, label.call, label.object);
        }
        return answers;
      }
    }
  }

  /** Undefined when the kernel says that the table changed meanwhile. */
  #dumpOnce(message: Uint8Array, label: RequestLabel): NetlinkMessage[] | undefined {
    const sequence = this.#send(message, NLM.request | NLM.dump);
    const entries: NetlinkMessage[] = [];
    let interrupted = false;
    for (;;) {
      for (const answer of this.#receiveOrTimeout(label)) {
        if (answer.sequence !== sequence) continue;
        if ((answer.flags & NLM.dumpInterrupted) !== 0) interrupted = true;
        if (answer.type === NLMSG.done || answer.type === NLMSG.error) {
          const end = readAcknowledgement(answer, answer.type === NLMSG.done ? "done" : "error");
          if (end.errno !== 0) throw acknowledgementError(end, label.call, label.object);
          return interrupted ? undefined : entries;
        }
        entries.push(answer);
      }
    }
  }
}
