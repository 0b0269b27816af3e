/** The plugin's shim with a running agent: the specification, and whatever it cannot do itself. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { CNI_VERSIONS } from "@weft/cni";
import { pluginConformance } from "@weft/cni/conformance";
import { Baseline } from "./testing/baseline.ts";
import { TestNode } from "./testing/node.ts";
import { eventually } from "./testing/wait.ts";

setDefaultTimeout(240_000);

const node = new TestNode();
const plugins = join(node.root, "opt/cni/bin");
const shim = join(plugins, "weft");

beforeAll(async () => {
  mkdirSync(plugins, { recursive: true });
  const compiler =
    Bun.which("tcc") === null
      ? ["cc", "-O2", "-ffreestanding", "-fno-builtin", "-fno-stack-protector"]
      : ["tcc"];
  const source = join(import.meta.dir, "../../plugins/weft/shim/shim.c");
  const run = Bun.spawnSync([...compiler, "-nostdlib", "-static", "-o", shim, source], { stderr: "pipe" });
  if (!run.success) throw new Error(run.stderr.toString());
  symlinkSync(node.executable, join(plugins, "weft-loopback"));
  await node.start();
});
afterAll(() => node.close());

const { socket, queue } = node.options;
pluginConformance("the shim of weft", {
  argv: [shim],
  versions: CNI_VERSIONS,
  interfaceName: "eth0",
  configuration: { name: "weft", type: "weft", socket, queue },
  createNamespace() {
    const pod = node.pod();
    return { path: pod.path, remove: () => node.removePod(pod) };
  },
  spawn: node.spawn,
});

async function call(
  command: string,
  pod: ReturnType<TestNode["pod"]>,
  stdin?: string,
  more: Record<string, string> = {},
) {
  const environment = { ...node.environment(command, pod), ...more };
  const child = node.spawn([shim], {
    environment,
    stdin: Buffer.from(stdin ?? JSON.stringify(node.configuration())),
  });
  const { code } = await child.exited;
  await child.stdout.ended;
  return { code, output: child.stdout.text() === "" ? {} : JSON.parse(child.stdout.text()) };
}

test("a shim that is killed while its ADD is under way: taken back", async () => {
  const baseline = await Baseline.of(node);
  const pod = node.pod();
  node.writeFaults("stall add:applied 2000");
  const stdin = Buffer.from(JSON.stringify(node.configuration()));
  const child = node.spawn([shim], { environment: node.environment("ADD", pod), stdin });
  await eventually("the agent is at work", () => node.faultsLeft().length === 0);
  child.kill("SIGKILL");
  await child.exited;
  await baseline.expectSoon();
  expect(pod.self.link("eth0")).toBeUndefined();
  node.removePod(pod);
});

describe("what the shim hands to the whole executable", () => {
  test("input of more than it holds", async () => {
    const pod = node.pod();
    const padded = `${JSON.stringify(node.configuration())}${" ".repeat(3 << 20)}`;
    expect((await call("ADD", pod, padded)).code).toBe(0);
    expect((await call("DEL", pod, padded)).code).toBe(0);
    node.removePod(pod);
  });

  test("a socket whose name needs a JSON parser", async () => {
    const pod = node.pod();
    const escaped = JSON.stringify(node.configuration()).replace(
      `"${socket}"`,
      `"${socket.replaceAll("/", "\\/")}"`,
    );
    expect(escaped).toContain("\\/");
    expect((await call("ADD", pod, escaped)).code).toBe(0);
    expect((await call("DEL", pod, escaped)).code).toBe(0);
    node.removePod(pod);
  });

  test("VERSION, and no command at all", async () => {
    const pod = node.pod();
    expect((await call("VERSION", pod, '{"cniVersion":"1.0.0"}')).output.supportedVersions).toContain(
      "1.1.0",
    );
    const child = node.spawn([shim], { environment: { CNI_COMMAND: "" }, stdin: new Uint8Array() });
    expect((await child.exited).code).toBe(0);
    node.removePod(pod);
  });

  test("malformed input: the agent answers as the executable does", async () => {
    const pod = node.pod();
    expect((await call("ADD", pod, "{")).output.code).toBe(6);
    expect((await call("ADD", pod, "")).output.code).toBe(6);
    expect((await call("ADD", pod, undefined, { CNI_IFNAME: "a/b" })).output.code).toBe(4);
    expect((await call("ADDITION", pod)).output.code).toBe(4);
    node.removePod(pod);
  });

  test("somebody else on the socket: an answer that is none of ours", async () => {
    const path = join(node.root, "other.sock");
    for (const body of ["", "hello", "9", "0\n".repeat(2)]) {
      const other = Bun.serve({
        unix: path,
        fetch: () => new Response(body, { status: body === "hello" ? 200 : 404 }),
      });
      const pod = node.pod();
      const configuration = JSON.stringify({ ...node.configuration(), socket: path });
      const { code, output } = await call("ADD", pod, configuration);
      expect([code, output.code]).toEqual([1, 100]);
      await other.stop(true);
      node.removePod(pod);
    }
  });

  test("no agent: ADD says so, DEL is left on disk and worked off", async () => {
    const baseline = await Baseline.of(node);
    const pod = await node.add();
    await node.stop();
    expect((await call("ADD", node.pod())).output.code).toBe(100);
    expect((await call("DEL", pod)).code).toBe(0);
    expect(node.queue()).toHaveLength(1);
    await node.start();
    await eventually("the queue is empty", () => node.queue().length === 0);
    await baseline.expectSoon();
  });
});
