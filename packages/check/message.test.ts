import { describe, expect, test } from "bun:test";
import { parseIp } from "@weft/base";
import fc from "fast-check";
import {
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
  REQUEST_BYTES,
  TOKEN_BYTES,
} from "./message.ts";

const token = fc.uint8Array({ minLength: TOKEN_BYTES, maxLength: TOKEN_BYTES });
const request = fc.record({ probe: fc.nat(0xffffffff), stage: fc.nat(255) });
const address = fc.constantFrom("10.0.0.1", "fd00::1", "255.255.255.255", "::").map(parseIp);

describe("messages", () => {
  test("requests come back as they went, at any length", () => {
    fc.assert(
      fc.property(token, request, fc.integer({ min: 0, max: 9000 }), (t, r, length) => {
        const bytes = encodeRequest(t, r, length);
        expect(bytes.length).toBe(Math.max(length, REQUEST_BYTES));
        expect(decodeRequest(t, bytes)).toEqual(r);
      }),
    );
  });

  test("answers come back as they went", () => {
    fc.assert(
      fc.property(token, request, fc.nat(0xffffffff), address, (t, r, listener, seen) => {
        expect(decodeAnswer(t, encodeAnswer(t, { ...r, listener, seen }))).toEqual({ ...r, listener, seen });
      }),
    );
  });

  test("what is of another run, cut or anything else is nobody's", () => {
    fc.assert(
      fc.property(token, fc.uint8Array({ maxLength: 64 }), (t, bytes) => {
        const ours = bytes.length >= TOKEN_BYTES && t.every((b, i) => bytes[i] === b);
        if (!ours) {
          expect(decodeRequest(t, bytes)).toBeUndefined();
          expect(decodeAnswer(t, bytes)).toBeUndefined();
        }
      }),
    );
    const t = new Uint8Array(TOKEN_BYTES).fill(1);
    const answer = encodeAnswer(t, { probe: 1, stage: 2, listener: 3, seen: parseIp("10.0.0.1") });
    for (let length = 0; length < answer.length; length++) {
      expect(decodeAnswer(t, answer.subarray(0, length))).toBeUndefined();
    }
  });
});
