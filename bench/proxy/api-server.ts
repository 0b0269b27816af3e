/**
 * An API server with many services that nobody runs: `bun run bench/proxy/api-server.ts URL SOCKET SERVICES ENDPOINTS`.
 * It answers lists in pages and watches of what a service proxy reads, in JSON. Pages are made before the first is asked
 * for, so that whoever reads does not wait for whoever writes. Endpoints come and go as control.ts says.
 */
import { MOST_ENDPOINTS, node, range, service, slice } from "./objects.ts";

const [listen = "", socket = "", servicesText = "", endpointsText = ""] = process.argv.slice(2);
const services = Number(servicesText);
const first = Number(endpointsText);

const KINDS = {
  "/api/v1/nodes": { apiVersion: "v1", kind: "Node", all: () => [JSON.stringify(node(1))] },
  "/api/v1/services": {
    apiVersion: "v1",
    kind: "Service",
    all: () => Array.from({ length: services }, (_, i) => JSON.stringify(service(i, 1))),
  },
  "/apis/discovery.k8s.io/v1/endpointslices": {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    all: () =>
      Array.from({ length: services }, (_, i) => JSON.stringify(slice(i, endpoints[i] as number, 1))),
  },
  "/apis/networking.k8s.io/v1/servicecidrs": {
    apiVersion: "networking.k8s.io/v1",
    kind: "ServiceCIDR",
    all: () => [JSON.stringify(range(1))],
  },
} as const;
type Path = keyof typeof KINDS;

const endpoints = Array.from({ length: services }, () => first);
const kept = new Map<Path, string[]>();
const watchers = new Map<Path, Set<(text: string) => void>>();
const asked: string[] = [];
let version = 1;

function list(path: Path, url: URL): Response {
  const { apiVersion, kind, all } = KINDS[path];
  let items = kept.get(path);
  if (items === undefined) {
    items = [...all()];
    kept.set(path, items);
  }
  const from = Number(url.searchParams.get("continue") ?? 0);
  const to = Math.min(items.length, from + Number(url.searchParams.get("limit") ?? items.length));
  const more = to < items.length ? `,"continue":"${to}"` : "";
  const metadata = `{"resourceVersion":"${version}"${more}}`;
  return json(
    `{"kind":"${kind}List","apiVersion":"${apiVersion}","metadata":${metadata},"items":[${items.slice(from, to).join(",")}]}`,
  );
}

const json = (text: string | ReadableStream, status = 200): Response =>
  new Response(text, { status, headers: { "content-type": "application/json" } });

function watch(path: Path): Response {
  const { apiVersion, kind } = KINDS[path];
  const all = watchers.get(path) ?? new Set();
  watchers.set(path, all);
  let send: (text: string) => void = () => {};
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      send = (text) => controller.enqueue(Buffer.from(text));
      all.add(send);
      const object = { kind, apiVersion, metadata: { resourceVersion: String(version) } };
      send(`${JSON.stringify({ type: "BOOKMARK", object })}\n`);
    },
    cancel: () => void all.delete(send),
  });
  return json(stream);
}

/** One endpoint more or less of a service. */
function change(i: number, count: number): void {
  endpoints[i] = Math.min(count, MOST_ENDPOINTS);
  const path: Path = "/apis/discovery.k8s.io/v1/endpointslices";
  const { apiVersion, kind } = KINDS[path];
  const object = { apiVersion, kind, ...slice(i, endpoints[i] as number, ++version) };
  const items = kept.get(path);
  if (items !== undefined) items[i] = JSON.stringify(object);
  for (const send of watchers.get(path) ?? []) send(`${JSON.stringify({ type: "MODIFIED", object })}\n`);
}

const { hostname, port } = new URL(listen);
for (const path of Object.keys(KINDS) as Path[]) list(path, new URL(`${listen}${path}`));
Bun.serve({
  hostname,
  port: Number(port),
  idleTimeout: 0,
  fetch(request) {
    const url = new URL(request.url);
    const path = Object.keys(KINDS).find((p) => p === url.pathname) as Path | undefined;
    if (asked.length < 1000) asked.push(`${request.method} ${decodeURIComponent(url.pathname + url.search)}`);
    if (request.method !== "GET") return json(failure("Forbidden", 403), 403);
    if (url.pathname === `/api/v1/nodes/node-0`)
      return json(JSON.stringify({ apiVersion: "v1", kind: "Node", ...node(1) }));
    if (path === undefined) return json(failure("NotFound", 404), 404);
    return url.searchParams.has("watch") && url.searchParams.get("watch") !== "false"
      ? watch(path)
      : list(path, url);
  },
});

function failure(reason: string, code: number): string {
  return JSON.stringify({
    kind: "Status",
    apiVersion: "v1",
    status: "Failure",
    reason,
    code,
    message: reason,
  });
}

Bun.serve({
  unix: socket,
  async fetch(request) {
    const { pathname } = new URL(request.url);
    const body = (await request.json()) as { index: number; endpoints: number };
    if (pathname === "/change") change(body.index, body.endpoints);
    else if (pathname !== "/asked") return new Response("no such command", { status: 404 });
    return Response.json(asked);
  },
});
