/**
 * Answers that are a no: Status objects with the code, reason and words that Kubernetes' clients know (API
 * conventions, "Response Status Kind"; apimachinery's pkg/api/errors names the reasons).
 */
import { type ErrorCode, WeftError } from "@weft/base";
import { type FieldFault, faultText } from "./faults.ts";
import type { Mapping } from "./values.ts";

/** Of a resource: what messages call it. "deployments.apps", "pods". */
export interface ResourceName {
  readonly group: string;
  readonly plural: string;
  readonly kind: string;
}

export class Failure extends WeftError {
  readonly status: number;
  readonly reason: string;
  readonly details: Mapping;

  constructor(code: ErrorCode, status: number, reason: string, message: string, details: Mapping = {}) {
    super(code, message);
    this.status = status;
    this.reason = reason;
    this.details = details;
  }

  toStatus(): Mapping {
    const { message, reason, details, status: code } = this;
    const shown = Object.keys(details).length === 0 ? {} : { details };
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message,
      reason,
      ...shown,
      code,
    };
  }
}

export const qualified = ({ group, plural }: ResourceName): string =>
  group === "" ? plural : `${plural}.${group}`;

const detailsOf = (resource: ResourceName, name: string): Mapping => ({
  name,
  ...(resource.group === "" ? {} : { group: resource.group }),
  kind: resource.plural,
});

export const badRequest = (message: string): Failure => new Failure("invalid", 400, "BadRequest", message);

export const unauthorized = (message = "Unauthorized"): Failure =>
  new Failure("permission", 401, "Unauthorized", message);

export const forbidden = (
  resource: ResourceName,
  name: string,
  why: string,
  causes: Mapping[] = [],
): Failure =>
  new Failure("permission", 403, "Forbidden", `${qualified(resource)} "${name}" is forbidden: ${why}`, {
    ...detailsOf(resource, name),
    ...(causes.length === 0 ? {} : { causes }),
  });

export const noSuchPath = (): Failure =>
  new Failure("not-found", 404, "NotFound", "the server could not find the requested resource");

/** Of a pod: what somebody who runs it would answer. */
export const noRuntime = (subresource: string): Failure =>
  new Failure(
    "unsupported",
    405,
    "MethodNotAllowed",
    `this API server runs no pods, and has no ${subresource} of them; in a lab, use: weft lab ${subresource === "log" ? "logs" : "exec"} POD`,
  );

export const notFound = (resource: ResourceName, name: string): Failure =>
  new Failure(
    "not-found",
    404,
    "NotFound",
    `${qualified(resource)} "${name}" not found`,
    detailsOf(resource, name),
  );

export const methodNotAllowed = (method: string): Failure =>
  new Failure(
    "unsupported",
    405,
    "MethodNotAllowed",
    `the server does not allow this method on the requested resource: ${method}`,
  );

export const notAcceptable = (
  message = "only the following media types are accepted: application/json, application/yaml",
): Failure => new Failure("unsupported", 406, "NotAcceptable", message);

export const alreadyExists = (resource: ResourceName, name: string): Failure =>
  new Failure(
    "exists",
    409,
    "AlreadyExists",
    `${qualified(resource)} "${name}" already exists`,
    detailsOf(resource, name),
  );

export const conflict = (resource: ResourceName, name: string, why: string): Failure =>
  new Failure(
    "conflict",
    409,
    "Conflict",
    `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${why}`,
    detailsOf(resource, name),
  );

export const MODIFIED =
  "the object has been modified; please apply your changes to the latest version and try again";

export const expired = (message: string): Failure => new Failure("overflow", 410, "Expired", message);

export const tooLarge = (limit: number): Failure =>
  new Failure(
    "invalid",
    413,
    "RequestEntityTooLarge",
    `the request is too large: the limit is ${limit} bytes`,
  );

export const unsupportedMedia = (message: string): Failure =>
  new Failure("unsupported", 415, "UnsupportedMediaType", message);

/** 422 with all faults at once. */
export function invalid(resource: ResourceName, name: string, faults: readonly FieldFault[]): Failure {
  const lines = faults.map(faultText);
  const said = lines.length === 1 ? lines[0] : `[${lines.join(", ")}]`;
  const { group, kind } = resource;
  const causes = faults.map((fault) => ({
    reason: fault.type,
    message: faultText(fault).slice(fault.field.length + 2),
    field: fault.field,
  }));
  const qualifiedKind = group === "" ? kind : `${kind}.${group}`;
  return new Failure("invalid", 422, "Invalid", `${qualifiedKind} "${name}" is invalid: ${said}`, {
    name,
    ...(group === "" ? {} : { group }),
    kind,
    causes,
  });
}

export const overloaded = (message: string): Failure =>
  new Failure("busy", 503, "ServiceUnavailable", message, { retryAfterSeconds: 1 });

export const internal = (message: string): Failure =>
  new Failure("internal", 500, "InternalError", `Internal error occurred: ${message}`);
