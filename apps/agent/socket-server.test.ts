/** An agent whose API server is `weft server` by its socket: the node's namespace has no way to the machine's loopback. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { spawnIn } from "@weft/kernel/netns";
import { ADDRESSES, BLOCKS, NODE, TestNode } from "./testing/node.ts";
import { eventually } from "./testing/wait.ts";

setDefaultTimeout(240_000);

let node: TestNode;
let server: Bun.Subprocess;
let data: string;
beforeAll(async () => {
  node = new TestNode();
  data = `${node.root}/server`;
  server = startServer();
  await eventually("it serves", async () => (await ask("GET", "/readyz")) === 200);
});
afterAll(async () => {
  server.kill("SIGKILL");
  await server.exited;
  node.close();
});

function startServer(): Bun.Subprocess {
  const words = ["server", "--data", data, "--port", "0"];
  return Bun.spawn([node.executable, ...words], { stdout: "ignore", stderr: "ignore" });
}

async function ask(method: string, path: string, body?: object): Promise<number> {
  const unix = `${data}/server.sock`;
  const headers = { "Content-Type": "application/json" };
  try {
    const init = { method, unix, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    return (await fetch(`http://server${path}`, init)).status;
  } catch {
    return 0;
  }
}

const asNode = (name: string, addresses: readonly string[], podCIDRs: readonly string[]): object => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name },
  spec: { podCIDRs },
  status: { addresses: addresses.map((address) => ({ type: "InternalIP", address })) },
});

test("has its nodes from there, and goes on after the server was killed and is back", async () => {
  expect(await ask("POST", "/api/v1/nodes", asNode(NODE, ADDRESSES, BLOCKS))).toBe(201);
  const words = ["agent", "--node", NODE, "--root", node.root, "--kubeconfig", `${data}/kubeconfig.socket`];
  const agent = spawnIn(node.node.self, ["setpriv", "--pdeathsig", "KILL", node.executable, ...words], {
    env: { PATH: process.env["PATH"] ?? "" },
    stdout: "ignore",
    stderr: "ignore",
  });
  node.companions.push(agent);
  const source = async (): Promise<string> => (await node.status().catch(() => undefined))?.source ?? "";
  await eventually("it watches", async () => / unix:\/\/.*server\.sock: watching$/.test(await source()));
  server.kill("SIGKILL");
  await server.exited;
  await eventually("it says so", async () => /away since .*nobody listens/.test(await source()));
  server = startServer();
  await eventually("it is back", async () => (await ask("GET", "/readyz")) === 200);
  const other = asNode("node2", ["172.30.0.1", "fd00:30::1"], ["10.240.2.0/24", "fd00:240:2::/64"]);
  expect(await ask("POST", "/api/v1/nodes", other)).toBe(201);
  await eventually("it knows the new node", async () => {
    const { peers } = await node.status();
    return peers.some((peer) => peer.node === "node2");
  });
  await eventually("both of its watches go on", async () => (await source()).endsWith(": watching"));
  agent.kill("SIGKILL");
  await agent.exited;
});
