/**
 * An API server of a large cluster that nobody runs: `bun run bench/scale/api-server.ts URL SOCKET NODES PODS`. It
 * answers lists (in pages, by field selector) and watches of nodes and pods, makes each object when it is asked for,
 * and holds next to nothing. Heartbeats and changes of pods come at the rates that control.ts sets.
 */
import type { Counts, Rates } from "./control.ts";
import { node, nodeName, pod } from "./objects.ts";

const [listen = "", socket = "", nodesText = "", podsText = ""] = process.argv.slice(2);
const first = Number(nodesText);
const pods = Number(podsText);
const TICK_MS = 50;

interface Watcher {
  readonly kind: "nodes" | "pods";
  /** Node that pods must be on; undefined: any. */
  readonly node: string | undefined;
  send(text: string): void;
}

const present = new Set(Array.from({ length: first }, (_, i) => i));
const watchers = new Set<Watcher>();
const counts = { heartbeats: 0, churn: 0, podEventsSent: 0, bytesSent: 0, asked: [] as string[] };
let version = 1;
let rates: Rates = { heartbeats: 0, churn: 0 };

function list(url: URL): Response {
  const kind = kindOf(url);
  const selected = selectedNode(url);
  const all =
    kind === "nodes"
      ? [...present]
      : Array.from({ length: pods }, (_, i) => i).filter(
          (i) => selected === undefined || nodeName(i % first) === selected,
        );
  const from = Number(url.searchParams.get("continue") ?? 0);
  const to = Math.min(all.length, from + Number(url.searchParams.get("limit") ?? all.length));
  const items = all.slice(from, to).map((i) => (kind === "nodes" ? node(i, 1) : pod(i, first, 1)));
  const metadata = { resourceVersion: String(version), ...(to < all.length ? { continue: String(to) } : {}) };
  return new Response(counted(JSON.stringify({ kind: "List", apiVersion: "v1", metadata, items })));
}

function watch(url: URL): Response {
  let watcher: Watcher | undefined;
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      watcher = {
        kind: kindOf(url),
        node: selectedNode(url),
        send: (text) => controller.enqueue(Buffer.from(counted(text))),
      };
      watchers.add(watcher);
      bookmark(watcher);
    },
    cancel() {
      if (watcher !== undefined) watchers.delete(watcher);
    },
  });
  return new Response(stream, { headers: { "content-type": "application/json" } });
}

const kindOf = (url: URL): Watcher["kind"] => (url.pathname.endsWith("/pods") ? "pods" : "nodes");
const selectedNode = (url: URL): string | undefined =>
  /^spec\.nodeName=(.+)$/.exec(url.searchParams.get("fieldSelector") ?? "")?.[1];

function counted(text: string): string {
  counts.bytesSent += text.length;
  return text;
}

function bookmark(watcher: Watcher): void {
  const kind = watcher.kind === "nodes" ? "Node" : "Pod";
  const object = { kind, apiVersion: "v1", metadata: { resourceVersion: String(version) } };
  watcher.send(`${JSON.stringify({ type: "BOOKMARK", object })}\n`);
}

function tellNodes(type: string, index: number, beat: number): void {
  const text = `${JSON.stringify({ type, object: node(index, ++version, beat) })}\n`;
  for (const watcher of watchers) if (watcher.kind === "nodes") watcher.send(text);
}

function beat(): void {
  const index = counts.heartbeats++ % first;
  if (present.has(index)) tellNodes("MODIFIED", index, 1 + Math.floor(counts.heartbeats / first));
}

/** A step that shares no divisor with the number of pods visits all of them. */
function change(): void {
  const index = (counts.churn++ * 7919) % pods;
  const on = nodeName(index % first);
  version++;
  for (const watcher of watchers) {
    if (watcher.kind !== "pods" || (watcher.node !== undefined && watcher.node !== on)) continue;
    counts.podEventsSent++;
    watcher.send(
      `${JSON.stringify({ type: "MODIFIED", object: pod(index, first, version, counts.churn) })}\n`,
    );
  }
}

const due = { heartbeats: 0, churn: 0 };
setInterval(() => {
  for (const [what, run] of [
    ["heartbeats", beat],
    ["churn", change],
  ] as const) {
    due[what] += (rates[what] * TICK_MS) / 1000;
    for (; due[what] >= 1; due[what]--) run();
  }
}, TICK_MS);
setInterval(() => {
  for (const watcher of watchers) bookmark(watcher);
}, 60_000);

const { hostname, port } = new URL(listen);
Bun.serve({
  hostname,
  port: Number(port),
  idleTimeout: 0,
  fetch(request) {
    const url = new URL(request.url);
    if (!/^\/api\/v1\/(nodes|pods)$/.test(url.pathname)) return new Response("no such path", { status: 404 });
    counts.asked.push(decodeURIComponent(url.pathname + url.search));
    return url.searchParams.get("watch") === "true" ? watch(url) : list(url);
  },
});

Bun.serve({
  unix: socket,
  async fetch(request) {
    const { pathname } = new URL(request.url);
    const body = (await request.json()) as { index: number } & Rates;
    if (pathname === "/rates") rates = { heartbeats: body.heartbeats, churn: body.churn };
    else if (pathname === "/add") {
      present.add(body.index);
      tellNodes("ADDED", body.index, 0);
    } else if (pathname === "/remove") {
      present.delete(body.index);
      tellNodes("DELETED", body.index, 0);
    } else if (pathname !== "/counts") return new Response("no such command", { status: 404 });
    return Response.json(counts satisfies Counts);
  },
});
