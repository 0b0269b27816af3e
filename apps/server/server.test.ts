import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createLogger, WeftError } from "@weft/base";
import {
  createClient,
  createEventRecorder,
  createObject,
  deleteObject,
  getObject,
  kubeconfigCredentials,
  patchObject,
  runLeaderElection,
  updateWithRetry,
  watchCluster,
  watchResource,
} from "@weft/cluster/client";
import { parse } from "yaml";
import { loadCertificates } from "./certificates.ts";
import { type RunningServer, startServer } from "./index.ts";
import { removeDirectory, startProcess, temporaryDirectory } from "./testing/process.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";
const directory = temporaryDirectory();
const tokens = join(directory, "tokens");
const logged: string[] = [];
const logger = createLogger((line) => logged.push(line));
const CONFIG_MAPS = { apiVersion: "v1", kind: "ConfigMap", plural: "configmaps", namespaced: true };
const NODES = { apiVersion: "v1", kind: "Node", plural: "nodes", namespaced: false };

const start = (more: { port?: number; socket?: string; data?: string } = {}): Promise<RunningServer> =>
  startServer({
    data: join(directory, "data"),
    address: "127.0.0.1",
    port: 0,
    names: [],
    socket: undefined,
    tokens,
    kubeconfig: undefined,
    services: { ranges: ["10.96.0.0/16"], nodePorts: [30000, 32767] },
    logger,
    ...more,
  });

let server: RunningServer;
beforeAll(async () => {
  writeFileSync(tokens, `# of the tests\n${TOKEN}\n`);
  server = await start();
});
afterAll(async () => {
  await server.stop();
  removeDirectory(directory);
});

const authority = (): string => readFileSync(join(directory, "data/pki/ca.crt"), "utf8");
const ask = (path: string, headers: Record<string, string> = {}, tls: object = {}): Promise<Response> =>
  fetch(`${server.url}${path}`, { headers, tls: { ca: authority(), ...tls } } as RequestInit);

describe("who may ask", () => {
  test("nobody without a certificate or a token, but for health", async () => {
    const refused = await ask("/api/v1/namespaces");
    expect(refused.status).toBe(401);
    expect(await refused.json()).toMatchObject({ kind: "Status", reason: "Unauthorized", code: 401 });
    expect((await ask("/healthz")).status).toBe(200);
    expect((await ask("/version")).status).toBe(200);
    expect((await ask("/api")).status).toBe(401);
  });

  test("whoever has a token that is in the file at that time", async () => {
    const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });
    expect((await ask("/api/v1/namespaces", bearer(TOKEN))).status).toBe(200);
    expect((await ask("/api/v1/namespaces", bearer(`${TOKEN}0`))).status).toBe(401);
    expect((await ask("/api/v1/namespaces", { Authorization: `Basic ${TOKEN}` })).status).toBe(401);
    writeFileSync(tokens, "another-token-of-some-length\n");
    expect((await ask("/api/v1/namespaces", bearer(TOKEN))).status).toBe(401);
    expect((await ask("/api/v1/namespaces", bearer("another-token-of-some-length"))).status).toBe(200);
    // A file that is spoilt while the server runs lets nobody in.
    writeFileSync(tokens, "short\n");
    expect((await ask("/api/v1/namespaces", bearer("another-token-of-some-length"))).status).toBe(401);
    expect(await refusal(start())).toBe("invalid");
    writeFileSync(tokens, TOKEN);
  });

  test("whoever has a certificate of this authority, and of no other", async () => {
    const pki = join(directory, "data/pki");
    const pair = (from: string) => ({
      cert: readFileSync(join(from, "admin.crt"), "utf8"),
      key: readFileSync(join(from, "admin.key"), "utf8"),
    });
    expect((await ask("/api/v1/namespaces", {}, pair(pki))).status).toBe(200);
    const other = join(directory, "other");
    await loadCertificates(other, [], Date.now());
    expect((await ask("/api/v1/namespaces", {}, pair(other))).status).toBe(401);
    const expired = join(directory, "expired");
    for (const name of ["ca.crt", "ca.key"]) {
      writeFileSync(join(directory, name), readFileSync(join(pki, name)));
    }
    await loadCertificates(expired, [], Date.now() - 800 * 86_400_000);
    expect((await ask("/api/v1/namespaces", {}, pair(expired))).status).toBe(401);
  });

  test("whoever may open the socket, which is root", async () => {
    const answer = await fetch("http://server/api/v1/namespaces", { unix: server.socket });
    expect(answer.status).toBe(200);
    expect(statSync(server.socket).mode & 0o777).toBe(0o600);
    expect(statSync(server.kubeconfig).mode & 0o777).toBe(0o600);
    expect(statSync(join(directory, "data")).mode & 0o777).toBe(0o700);
  });
});

test("a watch is answered at once, also when nothing happens, and ends with its client", async () => {
  const path = "/api/v1/secrets?watch=true&resourceVersion=1";
  const before = server.api.watchers.size;
  const aborted = new AbortController();
  const local = await fetch(`http://server${path}`, { unix: server.socket, signal: aborted.signal });
  const remote = await fetch(`${server.url}${path}`, {
    signal: aborted.signal,
    headers: { Authorization: `Bearer ${TOKEN}` },
    tls: { ca: authority() },
  } as RequestInit);
  expect([local.status, remote.status]).toEqual([200, 200]);
  expect(server.api.watchers.size).toBe(before + 2);
  aborted.abort();
  await until(() => server.api.watchers.size === before);
});

describe("certificates", () => {
  test("are kept over a restart, made again for a new name and when they are about to run out", async () => {
    const place = join(directory, "pki");
    const now = Date.now();
    const first = await loadCertificates(place, ["127.0.0.1"], now);
    expect(await loadCertificates(place, ["127.0.0.1"], now)).toEqual(first);
    const named = await loadCertificates(place, ["127.0.0.1", "api.example.com"], now);
    expect(named.authority).toBe(first.authority);
    expect(named.server.cert).not.toBe(first.server.cert);
    expect(named.admin).toEqual(first.admin);
    const late = await loadCertificates(place, ["127.0.0.1"], now + 340 * 86_400_000);
    expect(late.admin.cert).not.toBe(first.admin.cert);
    expect(late.authority).toBe(first.authority);
    expect(statSync(join(place, "ca.key")).mode & 0o777).toBe(0o600);
    writeFileSync(join(place, "server.crt"), "nonsense");
    await expect(loadCertificates(place, [], now)).rejects.toThrow("it is no certificate");
  });
});

test("a certificate whose key was made anew and which was not, as by a kill in between, is made again", async () => {
  const place = join(directory, "pki-killed");
  const first = await loadCertificates(place, [], Date.now());
  await loadCertificates(join(directory, "pki-another"), [], Date.now());
  writeFileSync(join(place, "server.key"), readFileSync(join(directory, "pki-another/server.key")));
  const second = await loadCertificates(place, [], Date.now());
  expect(second.server.cert).not.toBe(first.server.cert);
  expect(new X509Certificate(second.server.cert).checkPrivateKey(createPrivateKey(second.server.key))).toBe(
    true,
  );
});

test("a socket of a server that is stopped or too slow to answer stays its own", async () => {
  const place = join(directory, "slow");
  const slow = await startProcess(place);
  process.kill(slow.pid, "SIGSTOP");
  expect(await refusal(start({ data: join(directory, "data-3"), socket: slow.socket }))).toBe("busy");
  process.kill(slow.pid, "SIGCONT");
  expect((await fetch("http://server/healthz", { unix: slow.socket })).status).toBe(200);
  await slow.kill();
  // Killed, it has left the socket, and the lock went with it.
  expect(existsSync(slow.socket)).toBe(true);
  await (await start({ data: join(directory, "data-3"), socket: slow.socket })).stop();
});

test("a socket on which another program listens is not taken from it", async () => {
  const path = join(directory, "foreign.sock");
  const listen = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => console.log("x"))`;
  const child = Bun.spawn([process.execPath, "-e", listen], { stdout: "pipe" });
  await child.stdout.getReader().read();
  // It accepts nothing more.
  child.kill("SIGSTOP");
  expect(await refusal(start({ data: join(directory, "data-4"), socket: path }))).toBe("busy");
  child.kill("SIGKILL");
  await child.exited;
  await (await start({ data: join(directory, "data-4"), socket: path })).stop();
});

test("what is no socket is not removed to make room for one", async () => {
  const file = join(directory, "precious");
  writeFileSync(file, "data");
  expect(await refusal(start({ data: join(directory, "data-2"), socket: file }))).toBe("exists");
  expect(readFileSync(file, "utf8")).toBe("data");
});

describe("our own client", () => {
  const client = () =>
    createClient({ credentials: kubeconfigCredentials({ path: server.kubeconfig }), logger });

  test("reads, writes, and hears of it", async () => {
    const api = client();
    const rows = new Map<string, string>();
    const watch = watchResource<{ key: string; version: string }>({
      client: api,
      path: "/api/v1/configmaps",
      decode: ({ metadata }) => ({ key: metadata.name, version: metadata.resourceVersion ?? "" }),
      onChange: ({ reset, changes }) => {
        if (reset) rows.clear();
        for (const { before, after } of changes) {
          if (before !== undefined) rows.delete(before.key);
          if (after !== undefined) rows.set(after.key, after.version);
        }
      },
      logger,
    });
    const place = { namespace: "default", name: "one" };
    await createObject(api, CONFIG_MAPS, { metadata: place, data: { n: "0" } });
    await updateWithRetry(api, CONFIG_MAPS, place, (object) => ({ ...object, data: { n: "1" } }));
    const patched = await patchObject(api, CONFIG_MAPS, place, "merge", { data: { m: "2" } });
    expect(patched["data"]).toEqual({ n: "1", m: "2" });
    expect(await refusal(createObject(api, CONFIG_MAPS, { metadata: place }))).toBe("exists");
    await until(() => rows.get("one") === patched.metadata.resourceVersion);
    await deleteObject(api, CONFIG_MAPS, place);
    await until(() => !rows.has("one"));
    expect(await refusal(getObject(api, CONFIG_MAPS, place))).toBe("not-found");
    watch.stop();
    api.close();
  });

  test("has its cluster from it: nodes and pods", async () => {
    const api = client();
    const status = { addresses: [{ type: "InternalIP", address: "192.0.2.1" }] };
    await createObject(api, NODES, {
      metadata: { name: "n1" },
      spec: { podCIDRs: ["10.1.0.0/24", "fd00:1::/64"] },
      status,
    });
    let names: string[] = [];
    const cluster = watchCluster({
      client: api,
      node: "n1",
      onChange: ({ nodes }) => {
        names = nodes.map(({ name }) => name);
      },
      logger,
    });
    await until(() => names.includes("n1"));
    cluster.stop();
    api.close();
  });

  test("elects a leader, and a second one when the first goes", async () => {
    const api = client();
    const leaders: string[] = [];
    const run = (identity: string, stop: AbortSignal) =>
      runLeaderElection({
        client: api,
        namespace: "kube-system",
        name: "weft-test",
        identity,
        signal: stop,
        logger,
        leaseDuration: 15_000,
        renewDeadline: 10_000,
        retryPeriod: 200,
        onStart: (lost: AbortSignal) => {
          leaders.push(identity);
          return new Promise<void>((done) => lost.addEventListener("abort", () => done(), { once: true }));
        },
      });
    const [first, second] = [new AbortController(), new AbortController()];
    const one = run("one", first.signal);
    await until(() => leaders.length === 1);
    const two = run("two", second.signal);
    await Bun.sleep(500);
    expect(leaders).toEqual(["one"]);
    first.abort();
    await until(() => leaders.length === 2);
    expect(leaders).toEqual(["one", "two"]);
    second.abort();
    await Promise.all([one, two]);
    api.close();
  });

  test("records events that both groups show", async () => {
    const api = client();
    const recorder = createEventRecorder({
      client: api,
      controller: "weft.network/test",
      instance: "i",
      logger,
    });
    const regarding = { apiVersion: "v1", kind: "Pod", namespace: "default", name: "p", uid: "u" };
    recorder.record({ regarding, type: "Warning", reason: "Tested", action: "Testing", note: "once" });
    const events = { apiVersion: "v1", kind: "Event", plural: "events", namespaced: true };
    await until(async () => {
      const list = await api.request<{ items: { message: string }[] }>({
        path: `/api/v1/namespaces/default/${events.plural}?fieldSelector=involvedObject.name%3Dp`,
      });
      return list.items.some(({ message }) => message === "once");
    });
    await recorder.stop();
    api.close();
  });
});

describe("a start", () => {
  test("beside a server on the same data, socket or port is refused, and harms nobody", async () => {
    expect(await refusal(start())).toBe("busy");
    const data = join(directory, "second");
    expect(await refusal(start({ data, socket: server.socket }))).toBe("busy");
    expect(await refusal(start({ data, port: Number(new URL(server.url).port) }))).toBe("busy");
    expect((await fetch("http://server/healthz", { unix: server.socket })).status).toBe(200);
    const second = await start({ data });
    expect(second.url).not.toBe(server.url);
    await second.stop();
    expect(existsSync(second.socket)).toBe(false);
  });

  test("writes a kubeconfig that is complete", () => {
    expect(parse(readFileSync(server.kubeconfig, "utf8"))).toMatchObject({
      kind: "Config",
      "current-context": "weft",
      clusters: [{ cluster: { server: server.url } }],
    });
  });
});

/** The code of the error that it rejects with. */
async function refusal(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  return error instanceof WeftError ? error.code : `not refused, but ${String(error)}`;
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 1200; i++) {
    if (await condition()) return;
    await Bun.sleep(50);
  }
  throw new Error(`it did not happen; logged: ${logged.slice(-5).join("\n")}`);
}
