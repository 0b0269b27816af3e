/** Reads netlink messages and attributes. Malformed bytes give WeftError "invalid", never a partial value. */
import { WeftError } from "@weft/base";
import { SysError } from "../sys/errno.ts";
import { NLA, NLM, NLMSGERR_ATTR } from "./constants.ts";

const decoder = new TextDecoder();

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly port: number;
  /** Everything after the header: the protocol's fixed header and its attributes. */
  readonly payload: Uint8Array;
}

const malformed = (why: string): WeftError => new WeftError("invalid", `malformed netlink message: ${why}`);

/** All messages of a buffer. Payloads are views of it. */
export function readMessages(bytes: Uint8Array): NetlinkMessage[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const messages: NetlinkMessage[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes.length - at < 16) throw malformed(`${bytes.length - at} bytes are no header`);
    const length = view.getUint32(at, true);
    if (length < 16 || length > bytes.length - at)
      throw malformed(`length ${length} of ${bytes.length - at}`);
    messages.push({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      port: view.getUint32(at + 12, true),
      payload: bytes.subarray(at + 16, at + length),
    });
    at += (length + 3) & ~3;
  }
  return messages;
}

/** Attributes by type. Where a type comes twice, the last one counts; `all` gives them in order. */
export class Attributes {
  readonly #values = new Map<number, Uint8Array>();
  readonly all: { readonly type: number; readonly value: Uint8Array }[] = [];

  /** Parses `bytes` from `offset`, the length of the fixed header before the attributes. */
  constructor(bytes: Uint8Array, offset = 0) {
    if (bytes.length < offset) throw malformed(`${bytes.length} bytes, ${offset} of them a fixed header`);
    for (let at = offset; at < bytes.length; ) {
      if (bytes.length - at < 4) {
        throw malformed(`${bytes.length - at} bytes are no attribute`);
      }
      const length = (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
      const type = ((bytes[at + 2] as number) | ((bytes[at + 3] as number) << 8)) & NLA.typeMask;
      if (length < 4 || length > bytes.length - at) {
        throw malformed(`attribute ${type} has length ${length} of ${bytes.length - at}`);
      }
      const value = bytes.subarray(at + 4, at + length);
      this.#values.set(type, value);
      this.all.push({ type, value });
      at += (length + 3) & ~3;
    }
  }

  has(type: number): boolean {
    return this.#values.has(type);
  }

  bytes(type: number): Uint8Array | undefined {
    return this.#values.get(type);
  }

  u8(type: number): number | undefined {
    return this.#view(type, 1)?.getUint8(0);
  }

  u16(type: number): number | undefined {
    return this.#view(type, 2)?.getUint16(0, true);
  }

  u32(type: number): number | undefined {
    return this.#view(type, 4)?.getUint32(0, true);
  }

  i32(type: number): number | undefined {
    return this.#view(type, 4)?.getInt32(0, true);
  }

  u64(type: number): bigint | undefined {
    return this.#view(type, 8)?.getBigUint64(0, true);
  }

  u16Be(type: number): number | undefined {
    return this.#view(type, 2)?.getUint16(0);
  }

  u32Be(type: number): number | undefined {
    return this.#view(type, 4)?.getUint32(0);
  }

  i32Be(type: number): number | undefined {
    return this.#view(type, 4)?.getInt32(0);
  }

  u64Be(type: number): bigint | undefined {
    return this.#view(type, 8)?.getBigUint64(0);
  }

  /** Text up to the first NUL. */
  string(type: number): string | undefined {
    const value = this.#values.get(type);
    if (value === undefined) return undefined;
    const end = value.indexOf(0);
    return decoder.decode(end < 0 ? value : value.subarray(0, end));
  }

  nested(type: number, offset = 0): Attributes | undefined {
    const value = this.#values.get(type);
    return value === undefined ? undefined : new Attributes(value, offset);
  }

  #view(type: number, size: number): DataView | undefined {
    const value = this.#values.get(type);
    if (value === undefined) return undefined;
    if (value.length < size) throw malformed(`attribute ${type} has ${value.length} bytes, not ${size}`);
    return new DataView(value.buffer, value.byteOffset, value.length);
  }
}

/** What a kernel says to a request: error 0 is an acknowledgement. */
export interface Acknowledgement {
  /** Positive errno, 0 for success. */
  readonly errno: number;
  readonly message: string | undefined;
  readonly offset: number | undefined;
}

/** Decodes the payload of NLMSG.error or NLMSG.done, with the extended acknowledgement if there is one. */
export function readAcknowledgement(message: NetlinkMessage, kind: "error" | "done"): Acknowledgement {
  const { payload, flags } = message;
  if (payload.length < 4) {
    // Some protocols end a dump without a status.
    if (kind === "done") return { errno: 0, message: undefined, offset: undefined };
    throw malformed(`an error of ${payload.length} bytes`);
  }
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const status = view.getInt32(0, true);
  const errno = status < 0 ? -status : 0;
  let text: string | undefined;
  let offset: number | undefined;
  if ((flags & NLM.ackTlvs) !== 0) {
    let at = 4;
    if (kind === "error") {
      if (payload.length < 20) throw malformed(`an error of ${payload.length} bytes`);
      // The request follows: its header alone when it was capped or succeeded, else all of it.
      const length = view.getUint32(4, true);
      at += (flags & NLM.capped) !== 0 || length < 16 ? 16 : (length + 3) & ~3;
    }
    const attributes = new Attributes(payload, at);
    text = attributes.string(NLMSGERR_ATTR.message);
    offset = attributes.u32(NLMSGERR_ATTR.offset);
  }
  return { errno, message: text, offset };
}

/** The typed error of a failed request. `call` and `object` say what was tried: "RTM_NEWLINK", "link weft0". */
export const acknowledgementError = (a: Acknowledgement, call: string, object?: string): SysError =>
  new SysError(call, a.errno, {
    kernelMessage: a.message,
    offset: a.offset,
    ...(object === undefined ? {} : { object }),
  });
