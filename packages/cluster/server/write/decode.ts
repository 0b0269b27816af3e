/** What a client sent, into an object: type, unknown fields, forms of the fields, all of it checked. */
import { badRequest } from "../errors.ts";
import { type FieldFault, faultText } from "../faults.ts";
import { apiVersionOf, type Resource } from "../resource.ts";
import { builtInCheck } from "../schema/known.ts";
import { refTo } from "../schema/schema.ts";
import { applyDefaults, dropNulls, prune } from "../schema/walk.ts";
import { type ApiObject, isMap, type Mapping } from "../values.ts";
import { canonicalize } from "./canonical.ts";

/** What is done about fields that nobody knows: Strict refuses, Warn says so, Ignore drops them silently. */
export type FieldValidation = "Strict" | "Warn" | "Ignore";

const checkMetadata = builtInCheck(refTo("V1ObjectMeta"));

export function fieldValidationOf(query: URLSearchParams): FieldValidation {
  const given = query.get("fieldValidation") || "Warn";
  if (given === "Strict" || given === "Warn" || given === "Ignore") return given;
  throw badRequest(`fieldValidation must be Strict, Warn or Ignore, not ${JSON.stringify(given)}`);
}

/** The object, changed in place. Throws 400; adds to `warnings`. */
export function decode(
  resource: Resource,
  body: unknown,
  validation: FieldValidation,
  warnings: string[],
): ApiObject {
  if (!isMap(body)) throw badRequest("the body of the request must be an object");
  checkType(resource, body);
  if (body["metadata"] === undefined || body["metadata"] === null) body["metadata"] = {};
  if (resource.model !== undefined) dropNulls(body);
  else dropNulls(body["metadata"]);
  const unknown = prune(body, resource.schema).map((path) => `unknown field ${JSON.stringify(path)}`);
  if (validation === "Warn") warnings.push(...unknown);
  const quantities =
    resource.model === undefined ? [] : canonicalize(body, apiVersionOf(resource), resource.kind);
  if (resource.model === undefined) applyDefaults(body, resource.schema);
  const strict = validation === "Strict" ? unknown : [];
  const wrong = [
    ...(strict.length === 0 ? [] : [`strict decoding error: ${strict.join(", ")}`]),
    ...[...quantities, ...formFaults(resource, body)].map(faultText),
  ];
  if (wrong.length > 0) {
    const { kind, version } = resource;
    throw badRequest(`${kind} in version "${version}" cannot be handled as a ${kind}: ${wrong.join(", ")}`);
  }
  return body as ApiObject;
}

function checkType(resource: Resource, body: Mapping): void {
  const { kind, apiVersion } = body;
  const wanted = apiVersionOf(resource);
  if (kind === undefined || kind === "")
    throw badRequest("Object 'Kind' is missing in the body of the request");
  if (apiVersion !== wanted) {
    throw badRequest(
      `the API version in the data (${String(apiVersion)}) does not match the expected API version (${wanted})`,
    );
  }
  if (kind !== resource.kind) {
    throw badRequest(
      `the kind in the data (${String(kind)}) does not match the expected kind (${resource.kind})`,
    );
  }
}

/** Of Kubernetes' own objects the wrong form of a field is no object at all; of custom ones it is an invalid one. */
function formFaults(resource: Resource, body: Mapping): FieldFault[] {
  const metadata = body["metadata"];
  const faults: FieldFault[] = isMap(metadata)
    ? checkMetadata(metadata).map((fault) => ({ ...fault, field: `metadata.${fault.field}` }))
    : [{ type: "FieldValueTypeInvalid", field: "metadata", value: metadata, detail: "must be an object" }];
  if (resource.model !== undefined) {
    faults.push(...resource.check(body).filter(({ field }) => !/^metadata\b/.test(field)));
  }
  return faults.filter(({ type }) => type === "FieldValueTypeInvalid");
}
