/**
 * What a whole cluster takes. The objects are of the shape of real ones, which are larger still, and are made while they are
 * sent, so that nothing but the client, in a process of its own, holds anything.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";

const NODES = 1000;
const PODS = 50_000;
const ROUNDS = 4;
const CHANGES = 10_000;
const MB = 1024 * 1024;

const name = (i: number): string => `deployment-${i % 500}-7c9f8d6b5-${i}`;

function node(i: number): object {
  const range = `10.${i >> 8}.${i & 255}.0/24`;
  return {
    metadata: { name: `node-${i}`, uid: `node-uid-${i}`, resourceVersion: "1" },
    spec: { podCIDR: range, podCIDRs: [range] },
    status: {
      addresses: [{ type: "InternalIP", address: `172.16.${i >> 8}.${i & 255}` }],
      images: Array.from({ length: 30 }, (_, k) => ({
        names: [`example.com/image-${k}@sha256:${"0".repeat(64)}`],
      })),
    },
  };
}

/** What a pod has that nobody here needs: volumes, probes, conditions, managedFields. */
const ballast = {
  volumes: Array.from({ length: 5 }, (_, i) => ({
    name: `v${i}`,
    configMap: { name: `config-${i}`, items: [] },
  })),
  tolerations: Array.from({ length: 4 }, (_, i) => ({
    key: `key-${i}`,
    operator: "Exists",
    effect: "NoExecute",
  })),
};
const managedFields = Array.from({ length: 3 }, (_, i) => ({
  manager: `manager-${i}`,
  fieldsV1: Object.fromEntries(
    Array.from({ length: 15 }, (_, k) => [`f:field-${k}`, { "f:inner": {}, ".": {} }]),
  ),
}));

function pod(i: number, round: number, version: number): object {
  return {
    metadata: {
      name: name(i),
      namespace: `namespace-${i % 50}`,
      uid: `00000000-0000-4000-8000-${String(i).padStart(12, "0")}`,
      resourceVersion: String(version),
      labels: { app: `deployment-${i % 500}`, "pod-template-hash": "7c9f8d6b5", round: String(round) },
      managedFields,
    },
    spec: {
      nodeName: `node-${i % NODES}`,
      containers: [
        { name: "main", image: `example.com/image-${i % 30}:1`, env: [{ name: "MODE", value: "x" }] },
      ],
      ...ballast,
    },
    status: {
      phase: "Running",
      conditions: Array.from({ length: 5 }, (_, k) => ({ type: `T${k}`, status: "True" })),
    },
  };
}

test("rows of 50,000 pods and 1,000 nodes, and what churn adds to them", async () => {
  let sent = 0;
  let pods: ReadableStreamDefaultController<Uint8Array> | undefined;
  const counted = (value: object): string => {
    const text = JSON.stringify(value);
    sent += text.length;
    return text;
  };
  const list = (url: URL, size: number, make: (i: number) => object): Response => {
    const from = Number(url.searchParams.get("continue") ?? 0);
    const to = Math.min(size, from + Number(url.searchParams.get("limit")));
    const items = Array.from({ length: to - from }, (_, i) => make(from + i));
    const metadata = { resourceVersion: "1", ...(to < size ? { continue: String(to) } : {}) };
    return new Response(counted({ kind: "List", metadata, items }));
  };
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    fetch(request) {
      const url = new URL(request.url);
      const isPods = url.pathname.endsWith("pods");
      if (url.searchParams.get("watch") === null) {
        return isPods ? list(url, PODS, (i) => pod(i, 0, 1)) : list(url, NODES, node);
      }
      const start = (controller: ReadableStreamDefaultController<Uint8Array>): void => {
        if (isPods) pods = controller;
        controller.enqueue(Buffer.from("\n"));
      };
      return new Response(new ReadableStream({ start }));
    },
  });
  const child = Bun.spawn(
    [process.execPath, join(import.meta.dir, "testing", "memory-client.ts"), String(server.url).slice(0, -1)],
    {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    },
  );
  try {
    const lines = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    const next = async () => {
      while (!text.includes("\n")) {
        const { done, value } = await lines.read();
        if (done) throw new Error("the client ended");
        text += value;
      }
      const end = text.indexOf("\n");
      const line = text.slice(0, end);
      text = text.slice(end + 1);
      return JSON.parse(line) as Record<
        "nodes" | "blocks" | "pods" | "newest" | "heap" | "rss" | "peak",
        number
      >;
    };
    const first = await next();
    expect([first.nodes, first.blocks, first.pods]).toEqual([NODES, NODES, PODS]);
    const report = [[sent, first]] as [number, typeof first][];
    let version = 1;
    for (let round = 1; round <= ROUNDS; round++) {
      for (let k = 0; k < CHANGES; k++) {
        const i = (round * 7919 + k * 31) % PODS;
        const event = counted({ type: "MODIFIED", object: pod(i, round, ++version) });
        pods?.enqueue(Buffer.from(`${event}\n`));
        if (k % 500 === 0) await Bun.sleep(1);
      }
      child.stdin.write(`${version} ${round}\n`);
      child.stdin.flush();
      const now = await next();
      expect([now.pods, now.newest]).toEqual([PODS, round]);
      report.push([sent, now]);
    }
    const show = (bytes: number): string => `${(bytes / MB).toFixed(0)} MB`;
    for (const [bytes, { heap, rss, peak }] of report) {
      console.log(
        `received ${show(bytes)}; rows ${show(heap)} of heap, resident +${show(rss)} (peak +${show(peak)})`,
      );
    }
    const last = report.at(-1)![1];
    // Raw objects would be several times this; churn replaces rows and adds none.
    expect(first.heap).toBeLessThan((report[0]![0] as number) / 2);
    expect(last.heap).toBeLessThan(first.heap * 1.25);
    expect(Math.max(...report.map(([, r]) => r.peak))).toBeLessThan(600 * MB);
  } finally {
    child.kill();
    await child.exited;
    server.stop(true);
  }
}, 400_000);
