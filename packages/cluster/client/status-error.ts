/**
 * Answers that are failures. The API server says why in a Status object (Kubernetes API reference, "Status");
 * whatever is in between, such as a load balancer, says it in any words.
 */
import { type ErrorCode, WeftError } from "@weft/base";
import { isMapping } from "../field.ts";

export interface StatusCause {
  /** Path of the field, when it is about one. */
  readonly field: string | undefined;
  readonly message: string;
}

interface ApiErrorDetails {
  readonly status: number;
  readonly reason: string;
  readonly causes: readonly StatusCause[];
  /** Milliseconds after which the server wants to be asked again. */
  readonly retryAfter: number | undefined;
}

/** The server answered, and the answer is no. */
export class ApiError extends WeftError implements ApiErrorDetails {
  /** HTTP status code; of an ERROR event in a watch, the code of its Status. */
  readonly status: number;
  /** "Conflict", "AlreadyExists", ...; empty when the answer had none. */
  readonly reason: string;
  readonly causes: readonly StatusCause[];
  readonly retryAfter: number | undefined;

  constructor(code: ErrorCode, message: string, hint: string, object: string, details: ApiErrorDetails) {
    super(code, message, { hint, object });
    this.status = details.status;
    this.reason = details.reason;
    this.causes = details.causes;
    this.retryAfter = details.retryAfter;
  }
}

/** What was asked: "GET /api/v1/nodes", and as whom. */
export interface Asked {
  readonly request: string;
  readonly server: string;
  /** Where the credentials are from. */
  readonly identity: string;
  /** What is known to be wrong with them. */
  readonly identityFault: string | undefined;
}

/** An ApiError of an answer that is no success. `body` is its text, `retryAfter` the header's. */
export function answerError(status: number, body: string, retryAfter: string | null, asked: Asked): ApiError {
  let object: unknown;
  try {
    object = JSON.parse(body);
  } catch {
    // Not from the API server itself: its text is all there is.
  }
  const known = isMapping(object) && object["kind"] === "Status" ? object : { message: plainText(body) };
  return statusError({ ...known, code: status }, retryAfter, asked);
}

/** An ApiError of a Status object, as watches have it in an ERROR event. */
export function statusError(
  object: Readonly<Record<string, unknown>>,
  retryAfter: string | null,
  asked: Asked,
): ApiError {
  const status = typeof object["code"] === "number" ? object["code"] : 500;
  const reason = typeof object["reason"] === "string" ? object["reason"] : "";
  const details = isMapping(object["details"]) ? object["details"] : {};
  const said =
    typeof object["message"] === "string" && object["message"] !== "" ? object["message"] : `HTTP ${status}`;
  const wait = retryDelay(retryAfter) ?? seconds(details["retryAfterSeconds"]);
  const code = codeOf(status, reason, wait);
  const causes = readCauses(details["causes"]);
  return new ApiError(
    code,
    messageOf(status, said, causes, asked),
    hintOf(code, status, asked),
    asked.request,
    {
      status,
      reason,
      causes,
      retryAfter: wait,
    },
  );
}

/** Reasons tell apart what shares a status code; the status decides the rest. */
function codeOf(status: number, reason: string, retryAfter: number | undefined): ErrorCode {
  if (reason === "AlreadyExists") return "exists";
  if (reason === "Expired" || reason === "Gone") return "overflow";
  if (retryAfter !== undefined && (status === 429 || status >= 500)) return "busy";
  const codes: Readonly<Record<number, ErrorCode>> = {
    400: "invalid",
    401: "permission",
    403: "permission",
    404: "not-found",
    405: "unsupported",
    406: "unsupported",
    408: "timeout",
    409: "conflict",
    410: "overflow",
    413: "invalid",
    415: "unsupported",
    422: "invalid",
    429: "busy",
    504: "timeout",
  };
  return codes[status] ?? (status >= 500 ? "unavailable" : "internal");
}

function messageOf(status: number, said: string, causes: readonly StatusCause[], asked: Asked): string {
  if (status === 401) {
    const why = asked.identityFault === undefined ? "" : `: ${asked.identityFault}`;
    return `${asked.server}: credentials not accepted (${asked.identity})${why}`;
  }
  // The server's own message repeats them, mostly; what it leaves out is added.
  const missing = causes.filter(({ message }) => message !== "" && !said.includes(message));
  const listed = missing.map(({ field, message }) =>
    field === undefined ? message : `${field}: ${message}`,
  );
  return [`${asked.request}: ${said}`, ...listed].join("; ");
}

function hintOf(code: ErrorCode, status: number, asked: Asked): string {
  if (status === 401) return `Renew the credentials: ${asked.identity}.`;
  const hints: Partial<Record<ErrorCode, string>> = {
    permission: `Grant the right with a Role or ClusterRole; the credentials are ${asked.identity}.`,
    "not-found": "Check the name; for a whole kind, that its CustomResourceDefinition is installed.",
    conflict: "Somebody else changed it first: read it again and redo the change.",
    exists: "Use another name, or update what is there.",
    overflow: "The version asked for is too old: list again.",
    invalid: "Correct the fields named.",
    busy: "The server is overloaded or starting: it will be tried again.",
    unavailable: "Look at the API server's log.",
  };
  return hints[code] ?? "Look at the API server's version and log.";
}

function readCauses(value: unknown): StatusCause[] {
  if (!Array.isArray(value)) return [];
  return value.filter(isMapping).map((cause) => ({
    field: typeof cause["field"] === "string" && cause["field"] !== "" ? cause["field"] : undefined,
    message: typeof cause["message"] === "string" ? cause["message"] : String(cause["reason"] ?? ""),
  }));
}

/** Milliseconds of a Retry-After header: seconds or a date (RFC 9110 section 10.2.3). */
function retryDelay(header: string | null): number | undefined {
  if (header === null) return undefined;
  const direct = seconds(/^\d+$/.test(header.trim()) ? Number(header) : undefined);
  if (direct !== undefined) return direct;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

const seconds = (value: unknown): number | undefined =>
  typeof value === "number" && value > 0 ? value * 1000 : undefined;

/** The first words of a text that may be a page of HTML. */
function plainText(body: string): string {
  const text = body
    .replace(/<[^>]*>/g, " ")
    .replace(/\s+/g, " ")
    .trim();
  return text.length > 200 ? `${text.slice(0, 200)}...` : text;
}
