/**
 * What goes over the wire between prober and listener. Both ends are in one process; the bytes are there so that
 * an answer proves which listener saw which address.
 *
 *     request:  token(8) probe(4) stage(1), then zeros up to the length asked for
 *     answer:   token(8) probe(4) stage(1) listener(4) address(4 or 16)
 *
 * The token is random for each run: nobody else's answer is taken for ours. A TCP client sends no request; its
 * answer carries probe 0, stage 0.
 */
import { type IpAddress, ipBytes, ipFromBytes } from "@weft/base";

export const TOKEN_BYTES = 8;
export const REQUEST_BYTES = TOKEN_BYTES + 5;

export interface Request {
  readonly probe: number;
  readonly stage: number;
}

export interface Answer extends Request {
  readonly listener: number;
  /** Address that the listener saw the request come from. */
  readonly seen: IpAddress;
}

/** A request of at least REQUEST_BYTES bytes. */
export function encodeRequest(token: Uint8Array, request: Request, length = REQUEST_BYTES): Uint8Array {
  const bytes = Buffer.alloc(Math.max(length, REQUEST_BYTES));
  bytes.set(token);
  bytes.writeUInt32BE(request.probe, TOKEN_BYTES);
  bytes[TOKEN_BYTES + 4] = request.stage;
  return bytes;
}

/** Undefined when it is not a request of this run. */
export function decodeRequest(token: Uint8Array, bytes: Uint8Array): Request | undefined {
  if (bytes.length < REQUEST_BYTES || !startsWith(bytes, token)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { probe: view.getUint32(TOKEN_BYTES), stage: view.getUint8(TOKEN_BYTES + 4) };
}

export function encodeAnswer(token: Uint8Array, answer: Answer): Uint8Array {
  const address = ipBytes(answer.seen);
  const bytes = Buffer.alloc(REQUEST_BYTES + 4 + address.length);
  bytes.set(encodeRequest(token, answer));
  bytes.writeUInt32BE(answer.listener, REQUEST_BYTES);
  bytes.set(address, REQUEST_BYTES + 4);
  return bytes;
}

/** Undefined when it is not an answer of this run. */
export function decodeAnswer(token: Uint8Array, bytes: Uint8Array): Answer | undefined {
  const address = bytes.length - REQUEST_BYTES - 4;
  const request = decodeRequest(token, bytes);
  if (request === undefined || (address !== 4 && address !== 16)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const seen = ipFromBytes(bytes.subarray(REQUEST_BYTES + 4));
  return { ...request, listener: view.getUint32(REQUEST_BYTES), seen };
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  return start.every((byte, i) => bytes[i] === byte);
}
