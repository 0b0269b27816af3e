/**
 * JSON patches, RFC 6902: all operations or none. Own code, because the libraries step over the names "constructor" and
 * "prototype" in a pointer, which are fine names of labels, and so change something else.
 */
import { badRequest, Failure } from "../errors.ts";
import { clone, equal, isMap, items, type Mapping } from "../values.ts";

/** Operations that a JSON patch may have: each may copy what the one before has made. */
const MOST_OPERATIONS = 10_000;
const COPIED_LIMIT = 3 * 1024 * 1024;
const OPERATIONS = ["add", "remove", "replace", "move", "copy", "test"];

interface Operation {
  readonly op: string;
  readonly path: readonly string[];
  readonly from: readonly string[];
  readonly value: unknown;
  /** "add /spec/size" */
  readonly shown: string;
}

/** What the patch does. Throws 400, 413; what it returns throws 422. */
export function jsonPatch(body: unknown): (object: Mapping) => Mapping {
  if (!Array.isArray(body)) throw badRequest("a JSON patch must be a list of operations");
  if (body.length > MOST_OPERATIONS) {
    const message = `the allowed maximum operations in a JSON patch is ${MOST_OPERATIONS}, got ${body.length}`;
    throw new Failure("invalid", 413, "RequestEntityTooLarge", message);
  }
  const operations = items(body).map(readOperation);
  return (object) => {
    const result = clone(object);
    let copied = 0;
    for (const operation of operations) {
      if (operation.op === "copy") copied += JSON.stringify(read(result, operation.from, operation)).length;
      if (copied > COPIED_LIMIT) throw failed(operation, "it copies too much");
      run(result, operation);
    }
    return result;
  };
}

function readOperation(given: unknown, i: number): Operation {
  if (!isMap(given) || !OPERATIONS.includes(given["op"] as string)) {
    throw badRequest(`operation ${i} has no known "op": ${JSON.stringify(given)}`);
  }
  const op = given["op"] as string;
  const path = pointer(given["path"], i, "path");
  const from = op === "move" || op === "copy" ? pointer(given["from"], i, "from") : [];
  if (/^(add|replace|test)$/.test(op) && !Object.hasOwn(given, "value")) {
    throw badRequest(`operation ${i} has no "value"`);
  }
  if (path.length === 0 && op !== "test")
    throw badRequest(`operation ${i}: the whole object cannot be the target`);
  return { op, path, from, value: given["value"], shown: `${op} ${String(given["path"])}` };
}

/** RFC 6901. */
function pointer(given: unknown, i: number, field: string): string[] {
  if (typeof given !== "string" || !/^(\/([^~]|~[01])*)?$/s.test(given)) {
    throw badRequest(`operation ${i}: "${field}" must be a JSON pointer, not ${JSON.stringify(given)}`);
  }
  return given
    .split("/")
    .slice(1)
    .map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function run(object: Mapping, operation: Operation): void {
  const { op, path, from, value } = operation;
  if (op === "test") {
    if (!equal(read(object, path, operation), value)) throw failed(operation, "the value is another one");
  } else if (op === "add") add(object, path, clone(value), operation);
  else if (op === "copy") add(object, path, clone(read(object, from, operation)), operation);
  else if (op === "remove") take(object, path, operation);
  else if (op === "replace") {
    take(object, path, operation);
    add(object, path, clone(value), operation);
  } else {
    if (path.length > from.length && from.every((token, i) => token === path[i])) {
      throw failed(operation, "it cannot move into itself");
    }
    add(object, path, take(object, from, operation), operation);
  }
}

/** The place of an existing item, or for adding also the one behind the last. */
function indexOf(list: readonly unknown[], token: string, adding: boolean, operation: Operation): number {
  if (adding && token === "-") return list.length;
  const index = /^(0|[1-9]\d{0,8})$/.test(token) ? Number(token) : -1;
  if (index < 0 || index >= list.length + (adding ? 1 : 0))
    throw failed(operation, `there is no item ${token}`);
  return index;
}

function read(object: unknown, path: readonly string[], operation: Operation): unknown {
  return path.reduce<unknown>((here, token) => {
    if (Array.isArray(here)) return here[indexOf(here, token, false, operation)];
    if (isMap(here) && Object.hasOwn(here, token)) return here[token];
    throw failed(operation, `there is no ${JSON.stringify(token)}`);
  }, object);
}

function add(object: Mapping, path: readonly string[], value: unknown, operation: Operation): void {
  const parent = read(object, path.slice(0, -1), operation);
  const token = path.at(-1) as string;
  if (Array.isArray(parent)) parent.splice(indexOf(parent, token, true, operation), 0, value);
  else if (isMap(parent)) {
    // Defined, not assigned: "__proto__" is a name like any other.
    Object.defineProperty(parent, token, { value, enumerable: true, configurable: true, writable: true });
  } else throw failed(operation, "what it goes into is no object and no list");
}

function take(object: Mapping, path: readonly string[], operation: Operation): unknown {
  const value = read(object, path, operation);
  const parent = read(object, path.slice(0, -1), operation);
  const token = path.at(-1) as string;
  if (Array.isArray(parent)) parent.splice(Number(token), 1);
  else delete (parent as Mapping)[token];
  return value;
}

const failed = ({ shown }: Operation, why: string): Failure =>
  new Failure(
    "invalid",
    422,
    "Invalid",
    `the server rejected our request due to an error in our request: ${shown}: ${why}`,
  );
