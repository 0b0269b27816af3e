/** Weft's own client over the server's socket, as agents in network namespaces use it. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { hintOf, isInvalid, silentLogger } from "@weft/base";
import {
  type ApiClient,
  type ClusterRows,
  createClient,
  createObject,
  deleteObject,
  kubeconfigCredentials,
  NODES,
  socketUrl,
  watchCluster,
} from "@weft/cluster/client";
import { writeKubeconfig } from "@weft/cluster/client/testing";
import { removeDirectory, type ServerProcess, startProcess, temporaryDirectory } from "./testing/process.ts";

const directory = temporaryDirectory();
// A path that a URL cannot have as it is.
const data = join(directory, "data 50% ünd #");
const kubeconfig = join(data, "kubeconfig.socket");
let server: ServerProcess;
beforeAll(async () => {
  server = await startProcess(data);
});
afterAll(async () => {
  await server.kill();
  removeDirectory(directory);
});

const client = (path = kubeconfig): ApiClient =>
  createClient({ credentials: kubeconfigCredentials({ path }), retries: 0 });

const node = (name: string, i: number) => ({
  metadata: { name },
  spec: { podCIDRs: [`10.1.${i}.0/24`, `fd00:1:${i}::/64`] },
  status: { addresses: [{ type: "InternalIP", address: `192.0.2.${i}` }] },
});

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; !condition(); i++) {
    if (i > 2400) throw new Error("it did not come about");
    await Bun.sleep(25);
  }
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (error instanceof Error) return error;
  throw new Error("it did not fail");
}

test("an agent's watch goes on after the server was killed and is back, and errors name the socket", async () => {
  const api = client();
  expect(api.server).toBe(socketUrl(server.socket));
  let rows: ClusterRows | undefined;
  const cluster = watchCluster({
    client: api,
    node: "a",
    backoff: { first: 50, cap: 200 },
    onChange: (next) => {
      rows = next;
    },
    logger: silentLogger,
  });
  const names = (): string => (rows?.nodes ?? []).map(({ name }) => name).join();
  await createObject(api, NODES, node("a", 1));
  await createObject(api, NODES, node("b", 2));
  await until(() => names() === "a,b");
  const lists = cluster.status().nodes.lists;

  await server.kill();
  await until(() => cluster.status().nodes.awaySince !== undefined);
  const away = await failure(api.request({ path: "/api/v1/nodes" }));
  expect(away.message).toContain(`${socketUrl(server.socket)}: nobody listens on this socket`);
  expect(hintOf(away)).toContain("weft server");
  // What was known stays.
  expect(names()).toBe("a,b");

  server = await startProcess(data);
  await deleteObject(api, NODES, { name: "b" });
  await createObject(api, NODES, node("c", 3));
  await until(() => names() === "a,c");
  // It went on where it was: nothing had to be listed again.
  expect(cluster.status().nodes).toMatchObject({ state: "watching", lists, awaySince: undefined });
  await cluster.stop();
  api.close();
}, 120_000);

test("a request that is not answered ends in time, and one that is called off at once", async () => {
  const api = client();
  const path = "/api/v1/nodes";
  const query = { watch: true };
  const stop = new AbortController();
  const stream = await api.stream({ path, query, signal: stop.signal });
  const reader = stream.getReader();
  const end = failure(
    (async () => {
      while (!(await reader.read()).done);
    })(),
  );
  stop.abort(new Error("enough"));
  expect((await end).message).toContain("enough");
  const late = await failure(api.request({ path, query, timeout: 300 }));
  expect(late.message).toBe(`${api.server}: no answer within 0.3 s`);
  api.close();
}, 120_000);

test("from a network namespace without any link there is a way", async () => {
  const script = join(directory, "ask.ts");
  const module = join(import.meta.dir, "../../packages/cluster/client/index.ts");
  writeFileSync(
    script,
    `import { createClient, kubeconfigCredentials } from ${JSON.stringify(module)};
     const [path] = process.argv.slice(2);
     const client = createClient({ credentials: kubeconfigCredentials({ path }), retries: 0 });
     const { kind } = await client.request({ path: "/api/v1/nodes" });
     console.log(kind);`,
  );
  const ask = async (path: string): Promise<string> => {
    const child = Bun.spawn(["unshare", "--net", process.execPath, script, path], { stderr: "pipe" });
    return `${await new Response(child.stdout).text()}${await new Response(child.stderr).text()}`;
  };
  expect(await ask(kubeconfig)).toBe("NodeList\n");
  expect(await ask(server.kubeconfig)).toContain("https://127.0.0.1");
}, 120_000);

test("bad places of a socket are refused, with what to do", async () => {
  const write = (server: string, cluster: object = {}): string =>
    writeKubeconfig(join(directory, "bad"), server, { cluster });
  const asked = (path: string): Promise<Error> => failure(client(path).request({ path: "/version" }));
  const absent = await asked(write(socketUrl(join(directory, "nothing.sock"))));
  expect(absent.message).toContain("nothing.sock: there is no such socket");
  expect(hintOf(absent)).toContain("Check that the API server runs");
  write("");
  expect((await asked(write(socketUrl(join(directory, "bad"))))).message).toContain("nobody listens");
  for (const [url, why] of [
    ["unix://run/x.sock", "by its whole path"],
    ["unix:///", "by its whole path"],
    ["unix:///x?y=z", "by its whole path"],
    ["unix:///%zz", "begins no %XX"],
    [`unix:///${"x".repeat(120)}`, "at most 107 bytes"],
  ] as const) {
    const error = await failure((async () => client(write(url)))());
    expect([isInvalid(error), error.message]).toEqual([true, expect.stringContaining(why)]);
  }
  const both = await failure(
    (async () => client(write("unix:///x.sock", { "tls-server-name": "server" })))(),
  );
  expect(both.message).toContain("clusters[0].cluster[tls-server-name]: must not be set");
});
