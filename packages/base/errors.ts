/**
 * Typed errors. Every error that crosses a room's border is a WeftError: it has a code to test for, the
 * object it concerns, a hint that tells the reader what to do, and the cause it was made from.
 */

export type ErrorCode =
  | "invalid" // the input is malformed or contradicts itself
  | "not-found"
  | "exists" // already there, and not ours to replace
  | "busy" // another one holds it; try again
  | "exhausted" // a range or table is full
  | "unsupported" // this kernel or version cannot do it
  | "permission"
  | "timeout"
  | "unavailable" // the other side does not answer
  | "conflict" // somebody else changed it first
  | "overflow" // events were lost; read everything again
  | "internal";

export interface WeftErrorOptions {
  /** What the error is about, as the user names it: "pod default/web", "route 10.0.0.0/24". */
  readonly object?: string;
  /** What to do about it, a full sentence. */
  readonly hint?: string;
  readonly cause?: unknown;
}

export class WeftError extends Error {
  readonly code: ErrorCode;
  readonly object: string | undefined;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: WeftErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "WeftError";
    this.code = code;
    this.object = options.object;
    this.hint = options.hint;
  }
}

/** True if `error` or anything in its chain of causes is a WeftError of that code. */
export function hasCode(error: unknown, code: ErrorCode): boolean {
  return chainOf(error).some((e) => e instanceof WeftError && e.code === code);
}

/** The error and its causes, from the outside in, each once: a chain that leads back to itself has an end. */
function chainOf(error: unknown): unknown[] {
  const chain = new Set<unknown>();
  for (let e: unknown = error; e !== undefined && e !== null && !chain.has(e); ) {
    chain.add(e);
    e = e instanceof Error ? e.cause : undefined;
  }
  return [...chain];
}

export const isNotFound = (e: unknown): boolean => hasCode(e, "not-found");
export const isExists = (e: unknown): boolean => hasCode(e, "exists");
export const isBusy = (e: unknown): boolean => hasCode(e, "busy");
export const isInvalid = (e: unknown): boolean => hasCode(e, "invalid");
export const isUnsupported = (e: unknown): boolean => hasCode(e, "unsupported");
export const isUnavailable = (e: unknown): boolean => hasCode(e, "unavailable");
export const isTimeout = (e: unknown): boolean => hasCode(e, "timeout");
export const isExhausted = (e: unknown): boolean => hasCode(e, "exhausted");

/** One line for a log or a status row: the message, and the messages of its causes. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (const e of chainOf(error)) {
    const text = e instanceof Error ? e.message : typeof e === "object" ? "" : String(e);
    if (!parts.some((p) => p.includes(text))) parts.push(text);
  }
  return parts.filter((p) => p !== "").join(": ") || "unknown error";
}

/** The hint nearest to the surface, if any error of the chain has one. */
export function hintOf(error: unknown): string | undefined {
  for (const e of chainOf(error)) if (e instanceof WeftError && e.hint !== undefined) return e.hint;
  return undefined;
}

/** Any value of a parsed document as text for a message, one line: what it is in JSON, a string as it is. Never throws. */
export function shownValue(value: unknown, most = 80): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
  return text.length > most ? `${text.slice(0, most)}...` : text;
}
