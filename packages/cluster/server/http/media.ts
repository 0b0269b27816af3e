/** Which form of an answer a client asks for, and bodies of requests into values. */
import { stringify } from "yaml";
import { badRequest, notAcceptable, tooLarge, unsupportedMedia } from "../errors.ts";
import { decodeProtobuf } from "../protobuf/decode.ts";

export type Form = "json" | "yaml" | "table" | "partial";

/** The first media type of an Accept header that this server has. Throws 406. */
export function formOf(accept: string | null): Form {
  if (accept === null || accept.trim() === "") return "json";
  for (const offer of accept.split(",")) {
    const [type = "", ...parameters] = offer.split(";").map((part) => part.trim());
    const as = parameters.find((p) => p.startsWith("as="))?.slice(3);
    if (/^(application\/(json|\*)|\*\/\*)$/.test(type)) {
      if (as === undefined) return "json";
      if (as === "Table") return "table";
      if (as === "PartialObjectMetadata" || as === "PartialObjectMetadataList") return "partial";
    } else if (type === "application/yaml" && as === undefined) return "yaml";
  }
  throw notAcceptable();
}

/** Bytes of a body at most, as kube-apiserver has it. */
export const BODY_LIMIT = 3 * 1024 * 1024;

/** The media type without its parameters. */
export const mediaType = (header: string | null): string =>
  (header ?? "").split(";")[0]?.trim().toLowerCase() ?? "";

/** The whole body. Throws 413. */
export async function readBytes(request: Request): Promise<Uint8Array> {
  const announced = Number(request.headers.get("content-length") ?? 0);
  if (announced > BODY_LIMIT) throw tooLarge(BODY_LIMIT);
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = request.body?.getReader();
  for (;;) {
    const next = await reader?.read();
    if (next === undefined || next.done) break;
    size += next.value.length;
    if (size > BODY_LIMIT) {
      await reader?.cancel();
      throw tooLarge(BODY_LIMIT);
    }
    chunks.push(next.value);
  }
  return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks);
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** A body that is JSON, or YAML or protobuf where its type says so; undefined for an empty one. Throws 400, 415. */
export function parseBody(bytes: Uint8Array, type: string): unknown {
  if (bytes.length === 0) return undefined;
  if (type === "application/vnd.kubernetes.protobuf") return decodeProtobuf(bytes);
  const text = decodeText(bytes);
  if (/^(application\/json|application\/[a-z-]+\+json|)$/.test(type)) {
    try {
      refuseUnreadable(text);
      return JSON.parse(text);
    } catch (error) {
      throw badRequest(`the body of the request is not JSON: ${(error as Error).message}`);
    }
  }
  if (type === "application/yaml") {
    // The runtime's own parser: whatever a body of the size that is allowed has in it, it is read or refused within half a
    // second, aliases of aliases too. Of a field that is there twice the last one counts, as in JSON.
    try {
      return plain(Bun.YAML.parse(text));
    } catch (error) {
      throw badRequest(`the body of the request is not YAML: ${(error as Error).message}`);
    }
  }
  throw unsupportedMedia(
    "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
  );
}

/** Characters of an answer in JSON that is wanted as YAML: to write it takes a second for some ten million. */
const MOST_YAML = 4 * 1024 * 1024;

/** The answer as YAML. Throws 406 for one that is too large. */
export function yamlOf(json: string): string {
  if (json.length <= MOST_YAML) return stringify(JSON.parse(json));
  throw notAcceptable(
    `an answer of ${json.length} bytes is too large for YAML: ask for JSON, or for pages with limit`,
  );
}

/** What JSON could have said: nothing is shared between two places, and depth has the same limit. */
function plain(value: unknown): unknown {
  if (value === undefined || value === null) return undefined;
  const text = JSON.stringify(value);
  refuseUnreadable(text);
  return JSON.parse(text);
}

function decodeText(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw badRequest("the body of the request is not UTF-8");
  }
}

/** Levels of an object at most: whatever walks along it must have an end. */
const MOST_DEPTH = 500;

/** Throws for a text that would be read as another value than it says, or never to its end. */
function refuseUnreadable(text: string): void {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (quoted) {
      if (c === 0x5c) i++;
      else if (c === 0x22) quoted = false;
    } else if (c === 0x22) quoted = true;
    else if (c === 0x7b || c === 0x5b) {
      if (++depth > MOST_DEPTH) throw new Error(`it is more than ${MOST_DEPTH} levels deep`);
    } else if (c === 0x7d || c === 0x5d) depth--;
    else if (c >= 0x30 && c <= 0x39) i = endOfNumber(text, i) - 1;
  }
}

const NUMBER = /[\d.eE+-]+/y;

/** Numbers are doubles here: an integer that none of them is would be kept as its neighbour. */
function endOfNumber(text: string, from: number): number {
  NUMBER.lastIndex = from;
  const [digits = "0"] = NUMBER.exec(text) ?? [];
  if (digits.length >= 16 && /^\d+$/.test(digits) && !Number.isSafeInteger(Number(digits))) {
    throw new Error(`the integer ${digits} is beyond 2^53, and cannot be kept exactly: send it as a string`);
  }
  return from + digits.length;
}
