/** Our kinds into an API server that starts: what is not there is made, what an older Weft has made is brought up to date. */
import { WeftError } from "@weft/base";
import { IP_BLOCK_DEFINITION } from "./ip-block.ts";
import { IP_POOL_DEFINITION } from "./ip-pool.ts";
import type { Definition } from "./shared.ts";

const PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/** Answers a request as the server would. */
export type Handle = (request: Request) => Promise<Response>;

/** Throws "unavailable" with what the server says. A definition that is being deleted is left alone. */
export async function registerDefinitions(handle: Handle): Promise<void> {
  for (const definition of [IP_POOL_DEFINITION, IP_BLOCK_DEFINITION]) await register(handle, definition);
}

async function register(handle: Handle, definition: Definition): Promise<void> {
  const { name } = definition.metadata;
  const found = await ask(handle, "GET", `${PATH}/${name}`);
  if (found.status === 404) {
    checked(await ask(handle, "POST", PATH, definition), name);
    return;
  }
  const held = checked(found, name) as { metadata: Record<string, unknown>; spec: Record<string, unknown> };
  if (held.metadata["deletionTimestamp"] !== undefined) return;
  const wanted = { ...held, spec: { ...held.spec, ...definition.spec } };
  if (Bun.deepEquals(held, wanted)) return;
  checked(await ask(handle, "PUT", `${PATH}/${name}`, wanted), name);
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

async function ask(handle: Handle, method: string, path: string, body?: unknown): Promise<Answer> {
  const headers = { "Content-Type": "application/json" };
  const request = new Request(`http://server${path}`, {
    method,
    ...(body === undefined ? {} : { headers, body: JSON.stringify(body) }),
  });
  const response = await handle(request);
  return { status: response.status, body: await response.json() };
}

function checked({ status, body }: Answer, name: string): unknown {
  if (status < 300) return body;
  const { message } = body as { message?: string };
  throw new WeftError(
    "unavailable",
    `the definition ${name} cannot be registered: ${message ?? `HTTP ${status}`}`,
    {
      object: `CustomResourceDefinition ${name}`,
      hint: "Look at the server's log; a definition that somebody made by hand may have to be deleted first.",
    },
  );
}
