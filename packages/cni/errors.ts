/**
 * Errors as the CNI specification defines them (section 5, "Error"): a number, a short message and details.
 * Codes 0-99 belong to the specification; a plugin's own begin at 100 and mean nothing outside of it, so a
 * code from 100 up is only ever looked up in the table below when it is ours.
 */
import { describeError, type ErrorCode, hintOf, WeftError } from "@weft/base";

/** Codes of the specification. */
export const CODE = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  /** The runtime need not clean up: there is no such container. */
  unknownContainer: 3,
  invalidEnvironment: 4,
  io: 5,
  decoding: 6,
  invalidConfiguration: 7,
  /** Used by the reference library for a CNI_NETNS that is the plugin's own; not in the specification's text. */
  invalidNamespace: 8,
  tryAgainLater: 11,
  /** STATUS: no ADD can be served now. */
  pluginNotAvailable: 50,
  /** STATUS: no ADD can be served now, and containers that exist may have limited connectivity. */
  limitedConnectivity: 51,
} as const;

/** Weft's own codes. Numbers are never reused. */
export const OWN_CODE = {
  agentUnavailable: 100,
  deadlineExceeded: 101,
  rangeExhausted: 102,
  interfaceNameTaken: 103,
  namespaceNotFound: 104,
  kernelRefused: 105,
  conflictingAttachment: 106,
  nodeNotReady: 107,
  kernelUnsupported: 108,
  permissionDenied: 109,
  addressUnavailable: 110,
  checkFailed: 111,
  notFound: 112,
  alreadyExists: 113,
  hostPortTaken: 114,
  internal: 999,
} as const;

/** Every code with one line of meaning: what `weft explain error N` and the manual print. */
export const CODE_TABLE: readonly { readonly code: number; readonly name: string; readonly text: string }[] =
  [
    { code: 1, name: "incompatibleVersion", text: "the plugin does not support this CNI version" },
    { code: 2, name: "unsupportedField", text: "the configuration has a field that is not supported" },
    { code: 3, name: "unknownContainer", text: "there is no such container; nothing to clean up" },
    { code: 4, name: "invalidEnvironment", text: "an environment variable is missing or invalid" },
    { code: 5, name: "io", text: "reading the input or writing the output failed" },
    {
      code: 6,
      name: "decoding",
      text: "the input is not what it should be: bad JSON or a bad version number",
    },
    { code: 7, name: "invalidConfiguration", text: "the network configuration is invalid" },
    { code: 8, name: "invalidNamespace", text: "CNI_NETNS is the namespace of the plugin itself" },
    { code: 11, name: "tryAgainLater", text: "a passing condition; try again" },
    { code: 50, name: "pluginNotAvailable", text: "the plugin cannot serve an ADD now" },
    {
      code: 51,
      name: "limitedConnectivity",
      text: "as 50, and existing containers may have limited connectivity",
    },
    { code: 100, name: "agentUnavailable", text: "the node's agent does not answer on its socket" },
    { code: 101, name: "deadlineExceeded", text: "the work was not done within the time allowed" },
    { code: 102, name: "rangeExhausted", text: "no address is free in the ranges that this pod may use" },
    { code: 103, name: "interfaceNameTaken", text: "the container has another interface of that name" },
    { code: 104, name: "namespaceNotFound", text: "CNI_NETNS names no network namespace" },
    { code: 105, name: "kernelRefused", text: "the kernel refused a change" },
    {
      code: 106,
      name: "conflictingAttachment",
      text: "an earlier attachment of this container contradicts this one",
    },
    { code: 107, name: "nodeNotReady", text: "the node has no address block or underlay yet" },
    {
      code: 108,
      name: "kernelUnsupported",
      text: "this kernel lacks a module or option that the network needs",
    },
    { code: 109, name: "permissionDenied", text: "the plugin or agent lacks a privilege" },
    {
      code: 110,
      name: "addressUnavailable",
      text: "the address asked for is taken or outside of every range",
    },
    { code: 111, name: "checkFailed", text: "the container's network is not as ADD left it" },
    { code: 112, name: "notFound", text: "something that the request names does not exist" },
    { code: 113, name: "alreadyExists", text: "something that was to be made is there already and not ours" },
    { code: 114, name: "hostPortTaken", text: "another pod of the node has the host port" },
    { code: 999, name: "internal", text: "an error that the plugin did not foresee" },
  ];

/** What a plugin prints on standard output when it fails. */
export interface ErrorResult {
  readonly cniVersion: string;
  readonly code: number;
  readonly msg: string;
  readonly details?: string;
}

const WEFT_OF_SPECIFICATION: Readonly<Record<number, ErrorCode>> = {
  1: "unsupported",
  2: "invalid",
  3: "not-found",
  4: "invalid",
  6: "invalid",
  7: "invalid",
  8: "invalid",
  11: "busy",
  50: "unavailable",
  51: "unavailable",
};

const WEFT_OF_OWN: Readonly<Record<number, ErrorCode>> = {
  100: "unavailable",
  101: "timeout",
  102: "exhausted",
  103: "exists",
  104: "not-found",
  106: "conflict",
  107: "unavailable",
  108: "unsupported",
  109: "permission",
  110: "exhausted",
  112: "not-found",
  113: "exists",
  114: "conflict",
};

const CNI_OF_WEFT: Readonly<Record<ErrorCode, number>> = {
  invalid: CODE.invalidConfiguration,
  // Never 3: that would tell the runtime that there is nothing to clean up.
  "not-found": OWN_CODE.notFound,
  exists: OWN_CODE.alreadyExists,
  busy: CODE.tryAgainLater,
  exhausted: OWN_CODE.rangeExhausted,
  unsupported: OWN_CODE.kernelUnsupported,
  permission: OWN_CODE.permissionDenied,
  timeout: OWN_CODE.deadlineExceeded,
  unavailable: OWN_CODE.agentUnavailable,
  conflict: OWN_CODE.conflictingAttachment,
  overflow: CODE.tryAgainLater,
  internal: OWN_CODE.internal,
};

export interface CniErrorOptions {
  /** The long message of the specification's "details". */
  readonly details?: string;
  readonly object?: string;
  readonly hint?: string;
  readonly cause?: unknown;
  /** True for the error of another program, whose codes from 100 up are not ours. */
  readonly foreign?: boolean;
}

/** An error with a CNI code. As a WeftError its `code` follows from the number, so that isBusy() and others work. */
export class CniError extends WeftError {
  readonly cniCode: number;
  readonly details: string | undefined;

  constructor(cniCode: number, message: string, options: CniErrorOptions = {}) {
    const own = options.foreign === true ? undefined : WEFT_OF_OWN[cniCode];
    super(WEFT_OF_SPECIFICATION[cniCode] ?? own ?? "internal", message, options);
    this.name = "CniError";
    this.cniCode = cniCode;
    this.details = options.details;
  }

  /** The object to print. Details hold the own details, the causes and the hint, in this order. */
  toResult(cniVersion: string): ErrorResult {
    const parts = [this.details];
    if (this.cause !== undefined) parts.push(describeError(this.cause));
    parts.push(hintOf(this));
    const details = parts.filter((p) => p !== undefined && p !== "" && p !== this.message).join(". ");
    const result = { cniVersion, code: this.cniCode, msg: this.message };
    return details === "" ? result : { ...result, details: details.replaceAll(".. ", ". ") };
  }
}

/** Any thrown value as a CniError: the first one in its chain of causes, or by the WeftError's code, or 999. */
export function toCniError(error: unknown): CniError {
  if (error instanceof CniError) return error;
  for (let e = error; e instanceof Error; e = e.cause) {
    if (e instanceof CniError) {
      return new CniError(e.cniCode, describeError(error), withDetails(e.details, hintOf(error)));
    }
  }
  if (error instanceof WeftError) {
    const message = error.object === undefined ? error.message : `${error.object}: ${error.message}`;
    const options = withDetails(undefined, hintOf(error));
    return new CniError(CNI_OF_WEFT[error.code], message, { ...options, cause: error.cause });
  }
  const message = error instanceof Error ? error.message : String(error);
  return new CniError(OWN_CODE.internal, message === "" ? "unknown error" : message, { cause: error });
}

function withDetails(details: string | undefined, hint: string | undefined): CniErrorOptions {
  return { ...(details === undefined ? {} : { details }), ...(hint === undefined ? {} : { hint }) };
}

/** Reads an error that a plugin printed; undefined when `value` is no such object. */
export function parseErrorResult(value: unknown, object?: string): CniError | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { code, msg, details } = value as Record<string, unknown>;
  if (typeof code !== "number" || !Number.isSafeInteger(code) || code < 0) return undefined;
  if (typeof msg !== "string") return undefined;
  return new CniError(code, msg, {
    foreign: true,
    ...(typeof details === "string" && details !== "" ? { details } : {}),
    ...(object === undefined ? {} : { object }),
  });
}
