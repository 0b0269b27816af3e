/** The plugin against a stand-in for the agent: what it asks, what it makes of the answers. */
import { afterAll, afterEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PluginIo, runPlugin } from "@weft/cni";
import { weftPlugin } from "./plugin.ts";

const root = mkdtempSync(join(tmpdir(), "weft-plugin-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const socket = join(root, "agent.sock");
const queue = join(root, "deletions");

type Answer = (path: string, body: Record<string, unknown>) => Response | Promise<Response>;
let server: ReturnType<typeof Bun.serve> | undefined;
const heard: [string, Record<string, unknown>][] = [];

function listen(answer: Answer): void {
  server = Bun.serve({
    unix: socket,
    async fetch(request) {
      const path = new URL(request.url).pathname;
      const body = (await request.json()) as Record<string, unknown>;
      heard.push([path, body]);
      return answer(path, body);
    },
  });
}
afterEach(async () => {
  await server?.stop(true);
  server = undefined;
  heard.length = 0;
  rmSync(socket, { force: true });
  rmSync(queue, { recursive: true, force: true });
});

async function run(
  command: string,
  configuration: object = {},
  environment: Readonly<Record<string, string>> = {},
): Promise<{ code: number; printed: Record<string, unknown> }> {
  let text = "";
  const stdin = JSON.stringify({
    cniVersion: "1.1.0",
    name: "net",
    type: "weft",
    socket,
    queue,
    ...configuration,
  });
  const io: PluginIo = {
    environment: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: "c1",
      CNI_NETNS: "/run/netns/c1",
      CNI_IFNAME: "eth0",
      CNI_PATH: "/opt/cni/bin",
      ...environment,
    },
    readStdin: () => Buffer.from(stdin),
    writeStdout: (more) => {
      text += more;
    },
    writeStderr: () => {},
    namespaceIdentity: () => undefined,
  };
  const code = await runPlugin(weftPlugin, io);
  return { code, printed: text === "" ? {} : (JSON.parse(text) as Record<string, unknown>) };
}

const RESULT = {
  interfaces: [
    { name: "weft00000000001", mac: "02:00:00:00:00:01" },
    { name: "eth0", mac: "02:00:00:00:00:02", mtu: 1450, sandbox: "/run/netns/c1" },
  ],
  ips: [{ address: "10.0.0.2/32", gateway: "169.254.1.1", interface: 1 }],
  routes: [{ dst: "0.0.0.0/0", gw: "169.254.1.1" }],
};

describe("ADD", () => {
  test("asks with the attachment and the pod's name, and prints the result", async () => {
    listen(() => Response.json(RESULT));
    const CNI_ARGS = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_UID=u1";
    const runtimeConfig = { portMappings: [{ HostPort: 80, ContainerPort: 8080, Protocol: "TCP" }] };
    const { code, printed } = await run("ADD", { runtimeConfig }, { CNI_ARGS });
    expect(code).toBe(0);
    expect(printed).toMatchObject({ cniVersion: "1.1.0", ips: RESULT.ips });
    expect(heard).toEqual([
      [
        "/v1/cni/add",
        {
          network: "net",
          containerId: "c1",
          interface: "eth0",
          namespacePath: "/run/netns/c1",
          podNamespace: "default",
          podName: "web",
          podUid: "u1",
          portMappings: [{ hostPort: 80, containerPort: 8080, protocol: "tcp" }],
        },
      ],
    ]);
  });

  test("ports that are none are refused here, and a DEL does not look at them", async () => {
    listen(() => Response.json(RESULT));
    const runtimeConfig = { portMappings: [{ hostPort: "http", containerPort: 80 }] };
    const { code, printed } = await run("ADD", { runtimeConfig });
    expect({ code, printed }).toMatchObject({ code: 1, printed: { code: 7 } });
    expect(printed["msg"]).toContain("runtimeConfig.portMappings[0].hostPort");
    expect(heard).toEqual([]);
    expect((await run("DEL", { runtimeConfig })).code).toBe(0);
    expect(heard[0]?.[1]).not.toHaveProperty("portMappings");
  });

  test("appends to the result of the plugins before, whose indexes stay true", async () => {
    listen(() => Response.json(RESULT));
    const prevResult = {
      cniVersion: "1.1.0",
      interfaces: [{ name: "lo" }, { name: "x0" }],
      ips: [{ address: "127.0.0.1/8", interface: 0 }],
      routes: [{ dst: "192.0.2.0/24" }],
      dns: { nameservers: ["192.0.2.53"] },
    };
    const { printed } = await run("ADD", { prevResult });
    const { interfaces, ips, routes, dns } = printed as unknown as typeof prevResult;
    expect(interfaces.map((i) => i.name)).toEqual(["lo", "x0", "weft00000000001", "eth0"]);
    expect(ips.map((ip) => [ip.address, ip.interface])).toEqual([
      ["127.0.0.1/8", 0],
      ["10.0.0.2/32", 3],
    ]);
    expect(routes.length).toBe(2);
    expect(dns).toEqual(prevResult.dns);
  });

  test("the agent's error comes as it is", async () => {
    listen(() => Response.json({ code: 102, message: "full", details: "Make room." }, { status: 500 }));
    const { code, printed } = await run("ADD");
    expect({ code, printed }).toEqual({
      code: 1,
      printed: { cniVersion: "1.1.0", code: 102, msg: "full", details: "Make room." },
    });
  });

  const strange: readonly [string, () => Response][] = [
    ["no JSON", () => new Response("<html>")],
    ["an error without a code", () => Response.json({ error: "nope" }, { status: 500 })],
    ["an empty refusal", () => new Response(null, { status: 413 })],
    ["null", () => Response.json(null, { status: 500 })],
  ];
  test.each(strange)("an answer that is not the agent's is 100: %s", async (_, answer) => {
    listen(answer);
    expect((await run("ADD")).printed).toMatchObject({ code: 100 });
    expect(existsSync(queue)).toBe(false);
  });

  test("nobody listens: 100, with the socket and a question that helps", async () => {
    const { printed } = await run("ADD");
    expect(printed).toMatchObject({ code: 100, details: expect.stringContaining("Is the agent running") });
    expect(String(printed["msg"])).toContain(socket);
  });
});

describe("DEL", () => {
  test("is heard: nothing is queued", async () => {
    listen(() => Response.json({}));
    expect((await run("DEL", {}, { CNI_NETNS: "" })).code).toBe(0);
    expect(heard.map(([path, body]) => [path, body["namespacePath"]])).toEqual([["/v1/cni/del", undefined]]);
    expect(existsSync(queue)).toBe(false);
  });

  test("is refused: the runtime hears why, and nothing is queued", async () => {
    listen(() => Response.json({ code: 105, message: "busy" }, { status: 500 }));
    expect((await run("DEL")).printed).toMatchObject({ code: 105 });
    expect(existsSync(queue)).toBe(false);
  });

  test("is not heard: it is queued once, and is a success", async () => {
    for (const _ of ["once", "again"]) expect((await run("DEL")).code).toBe(0);
    expect(readdirSync(queue).length).toBe(1);
  });

  test("the agent comes up just then: it is asked again, and nothing stays queued", async () => {
    let calls = 0;
    listen(() => (++calls === 1 ? new Response("starting", { status: 503 }) : Response.json({})));
    expect((await run("DEL")).code).toBe(0);
    expect(calls).toBe(2);
    expect(readdirSync(queue)).toEqual([]);
  });
});

describe("the other commands", () => {
  test("CHECK and GC pass on what the runtime knows", async () => {
    listen(() => Response.json({}));
    const prevResult = { cniVersion: "1.1.0", interfaces: [], ips: [], routes: [] };
    expect((await run("CHECK", { prevResult })).code).toBe(0);
    const valid = { "cni.dev/valid-attachments": [{ containerID: "c9", ifname: "eth0" }] };
    expect((await run("GC", valid)).code).toBe(0);
    expect(heard.map(([path]) => path)).toEqual(["/v1/cni/check", "/v1/cni/gc"]);
    expect(heard[1]?.[1]).toEqual({
      network: "net",
      validAttachments: [{ containerId: "c9", interfaceName: "eth0" }],
    });
  });

  test("STATUS is 50 with the reason, whatever the agent's own code was", async () => {
    expect((await run("STATUS")).printed).toMatchObject({ code: 50 });
    listen(() => Response.json({ code: 107, message: "no address" }, { status: 500 }));
    expect((await run("STATUS")).printed).toMatchObject({ code: 50, msg: "no address" });
  });

  test("paths that are none are refused before anything is asked", async () => {
    for (const bad of [{ socket: "agent.sock" }, { socket: null }, { queue: 7 }, { queue: "" }]) {
      const { printed } = await run("ADD", bad);
      if ("socket" in bad && bad.socket === null) expect(printed).toMatchObject({ code: 100 });
      else expect(printed).toMatchObject({ code: 7, details: expect.stringContaining("Leave it out") });
    }
  });
});
