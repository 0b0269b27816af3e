/**
 * Writes netlink messages (RFC 3549 section 2.3.2; include/uapi/linux/netlink.h): a 16-byte header
 *
 *     length u32 | type u16 | flags u16 | sequence u32 | port u32
 *
 * then the protocol's fixed header, then attributes `length u16 | type u16 | value`, each padded to 4 bytes, which
 * may hold attributes themselves. Numbers are in the machine's order, little-endian on all that Weft runs on,
 * except where a protocol says network order (the *Be methods).
 *
 * One writer takes many messages, so that a batch is one buffer. Sequence numbers are put in by NetlinkSocket.
 *
 *     new NetlinkWriter().begin(RTM.getLink, NLM.request).raw(ifinfo).string(IFLA.name, "eth0").finish()
 */
import { WeftError } from "@weft/base";
import { NLA } from "./constants.ts";

const encoder = new TextEncoder();

export class NetlinkWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;
  #message = -1;

  constructor(capacity = 512) {
    this.#bytes = new Uint8Array(new ArrayBuffer(capacity));
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** Starts a message; the one before it ends here. */
  begin(type: number, flags: number): this {
    this.#end();
    this.#message = this.#reserve(16);
    this.#view.setUint16(this.#message + 4, type, true);
    this.#view.setUint16(this.#message + 6, flags, true);
    return this;
  }

  /** Bytes as they are, padded to 4: a protocol's fixed header. */
  raw(bytes: Uint8Array): this {
    const at = this.#reserve(bytes.length);
    this.#bytes.set(bytes, at);
    return this;
  }

  bytes(type: number, value: Uint8Array): this {
    const at = this.#attribute(type, value.length);
    this.#bytes.set(value, at);
    return this;
  }

  /** Attribute without a value. */
  flag(type: number): this {
    this.#attribute(type, 0);
    return this;
  }

  u8(type: number, value: number): this {
    const at = this.#attribute(type, 1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(type: number, value: number): this {
    const at = this.#attribute(type, 2);
    this.#view.setUint16(at, value, true);
    return this;
  }

  u32(type: number, value: number): this {
    const at = this.#attribute(type, 4);
    this.#view.setUint32(at, value, true);
    return this;
  }

  u64(type: number, value: bigint): this {
    const at = this.#attribute(type, 8);
    this.#view.setBigUint64(at, value, true);
    return this;
  }

  u16Be(type: number, value: number): this {
    const at = this.#attribute(type, 2);
    this.#view.setUint16(at, value);
    return this;
  }

  u32Be(type: number, value: number): this {
    const at = this.#attribute(type, 4);
    this.#view.setUint32(at, value);
    return this;
  }

  u64Be(type: number, value: bigint): this {
    const at = this.#attribute(type, 8);
    this.#view.setBigUint64(at, value);
    return this;
  }

  /** Text with its final NUL. */
  string(type: number, value: string): this {
    const bytes = encoder.encode(value);
    const at = this.#attribute(type, bytes.length + 1);
    this.#bytes.set(bytes, at);
    return this;
  }

  /** An attribute that holds attributes; `flags` is NLA.nested, or 0 for the old protocols that refuse it. */
  nest(type: number, fill: (writer: this) => void, flags: number = NLA.nested): this {
    const start = this.open(type, flags);
    fill(this);
    this.close(start);
    return this;
  }

  /** Like nest, without a closure: pass the result to close(). */
  open(type: number, flags: number = NLA.nested): number {
    return this.#attribute(type | flags, 0) - 4;
  }

  close(start: number): void {
    const length = this.#length - start;
    if (length > 0xffff) {
      throw new WeftError("invalid", `a netlink attribute holds at most 65535 bytes, not ${length}`);
    }
    this.#view.setUint16(start, length, true);
  }

  /** The messages; the writer may go on after it, into memory of its own. */
  finish(): Uint8Array {
    this.#end();
    return this.#bytes.slice(0, this.#length);
  }

  #end(): void {
    if (this.#message >= 0) this.#view.setUint32(this.#message, this.#length - this.#message, true);
    this.#message = -1;
  }

  /** Header of an attribute and room for its value; the result is where the value goes. */
  #attribute(type: number, size: number): number {
    if (size > 0xffff - 4) {
      throw new WeftError("invalid", `a netlink attribute holds at most 65531 bytes, not ${size}`);
    }
    const at = this.#reserve(4 + size);
    this.#view.setUint16(at, 4 + size, true);
    this.#view.setUint16(at + 2, type, true);
    return at + 4;
  }

  /** Room for `size` bytes, zeroed up to the next multiple of 4. */
  #reserve(size: number): number {
    const at = this.#length;
    const end = at + ((size + 3) & ~3);
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(new ArrayBuffer(Math.max(end, this.#bytes.length * 2)));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#length = end;
    return at;
  }
}
