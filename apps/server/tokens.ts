/** Bearer tokens: one a line in a file; empty lines and lines that begin with # say nothing. */
import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { describeError, WeftError } from "@weft/base";

const LEAST_LENGTH = 16;

export type TokenCheck = (authorization: string | null) => boolean;

/** A check of Authorization headers. The file is read again when it changes. Throws "invalid". */
export function tokenCheck(file: string | undefined): TokenCheck {
  if (file === undefined) return () => false;
  let read = readTokens(file);
  let stamp = stampOf(file);
  return (authorization) => {
    const token = /^Bearer (\S+)$/i.exec(authorization ?? "")?.[1];
    if (token === undefined) return false;
    const now = stampOf(file);
    if (now !== stamp) {
      // A file that cannot be read lets nobody in.
      stamp = now;
      try {
        read = readTokens(file);
      } catch {
        read = [];
      }
    }
    const digest = digestOf(token);
    // All are compared, so that the time does not tell which.
    return read.reduce((found, known) => timingSafeEqual(known, digest) || found, false);
  };
}

const digestOf = (token: string): Buffer => createHash("sha256").update(token).digest();

const stampOf = (file: string): string => {
  const found = statSync(file, { throwIfNoEntry: false });
  return found === undefined ? "" : `${found.ino} ${found.size} ${found.mtimeMs}`;
};

function readTokens(file: string): Buffer[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new WeftError("invalid", `cannot read the tokens: ${describeError(cause)}`, {
      object: file,
      hint: "Give --tokens a file that is there and can be read: one token a line.",
      cause,
    });
  }
  const lines = text.split("\n").map((line) => line.trim());
  const tokens = lines.filter((line) => line !== "" && !line.startsWith("#"));
  for (const token of tokens) {
    if (token.length < LEAST_LENGTH || /\s/.test(token)) {
      throw new WeftError("invalid", `a token must have at least ${LEAST_LENGTH} characters and no space`, {
        object: file,
        hint: "Make one with: openssl rand -hex 32",
      });
    }
  }
  return tokens.map(digestOf);
}
