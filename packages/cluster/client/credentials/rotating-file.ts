/**
 * Files that somebody renews while we run: tokens of service accounts (an hour by default), certificates of
 * the kubelet. Read again when the file changed, and every minute whatever its times say.
 */
import { readFileSync, statSync } from "node:fs";
import { type Clock, systemClock, WeftError } from "@weft/base";

const REREAD = 60_000;
const MAX_FILE = 1024 * 1024;

export class RotatingFile<T> {
  readonly path: string;
  readonly #what: string;
  readonly #parse: (text: string) => T;
  readonly #clock: Clock;
  #known: { value: T; signature: string; at: number } | undefined;

  /** `what` names the field that asks for the file; `parse` throws WeftError for a text that is not usable. */
  constructor(path: string, what: string, parse: (text: string) => T, clock: Clock = systemClock) {
    this.path = path;
    this.#what = what;
    this.#parse = parse;
    this.#clock = clock;
  }

  /** "users[0].user.tokenFile /path" */
  get source(): string {
    return `${this.#what} ${this.path}`;
  }

  /**
   * What the file holds. Once it was good, a file that vanishes or is half written changes nothing: whoever
   * renews it may be at it, and if not, the server's answer will say so.
   */
  read(): T {
    const known = this.#known;
    try {
      const signature = signatureOf(this.path);
      const now = this.#clock.monotonic();
      if (known !== undefined && known.signature === signature && now - known.at < REREAD) return known.value;
      const value = this.#parse(readText(this.path));
      this.#known = { value, signature, at: now };
      return value;
    } catch (error) {
      if (known !== undefined) return known.value;
      throw this.#fault(error);
    }
  }

  /** Reads anew at the next call. */
  forget(): void {
    if (this.#known !== undefined) this.#known = { ...this.#known, signature: "" };
  }

  #fault(cause: unknown): WeftError {
    if (cause instanceof WeftError) return cause;
    const code = (cause as NodeJS.ErrnoException).code;
    const kind = code === "ENOENT" ? "not-found" : code === "EACCES" ? "permission" : "invalid";
    return new WeftError(kind, `${this.source} cannot be read`, {
      object: this.path,
      hint: "Check that the file is there and readable by this process.",
      cause,
    });
  }
}

function signatureOf(path: string): string {
  const s = statSync(path, { bigint: true });
  return `${s.dev}:${s.ino}:${s.size}:${s.mtimeNs}`;
}

function readText(path: string): string {
  const bytes = readFileSync(path);
  if (bytes.length > MAX_FILE)
    throw new Error(`${bytes.length} bytes, more than the ${MAX_FILE} that are read`);
  return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
}

/** A bearer token: one line of visible characters (RFC 6750 section 2.1). */
export function parseToken(text: string, source: string): string {
  const token = text.trim();
  if (token !== "" && /^[\x21-\x7e]+$/.test(token)) return token;
  const why = token === "" ? "is empty" : "has characters that a token cannot have";
  throw new WeftError("invalid", `${source}: the token ${why}`, {
    object: source,
    hint: "It must hold nothing but the token.",
  });
}
