import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import {
  createNamed,
  deleteNamed,
  listNamed,
  type NetnsHandle,
  namedPath,
  openNetns,
  spawnIn,
  spawnSyncIn,
} from "@weft/kernel/netns";
import { openNamespace } from "@weft/kernel/rtnetlink";
import { listensOn } from "../processes.ts";
import { type EchoAnswer, echoOptions } from "./echo.ts";

const PREFIX = "weft-t-le";
const name = `${PREFIX}${process.pid}`;
let netns: NetnsHandle;
let echo: Bun.Subprocess | undefined;

const bash = (script: string): string => spawnSyncIn(netns, ["bash", "-c", script]).stdout.toString();
const answer = (script: string): EchoAnswer => JSON.parse(bash(script)) as EchoAnswer;

beforeAll(async () => {
  for (const left of listNamed(PREFIX)) {
    if (!existsSync(`/proc/${left.slice(PREFIX.length)}`)) deleteNamed(left);
  }
  createNamed(name);
  netns = openNetns(namedPath(name));
  const ns = openNamespace(namedPath(name));
  ns.changeLink("lo", { up: true });
  ns.replaceAddress({ link: "lo", address: "10.244.1.2/32" as never });
  ns.replaceAddress({ link: "lo", address: "fd00:10:244:1::2/128" as never });
  ns.close();
  const program = `import { runEcho } from ${JSON.stringify(`${import.meta.dir}/echo.ts`)}; await runEcho(); process.exit(0);`;
  echo = spawnIn(netns, [process.execPath, "-e", program], {
    stdout: "ignore",
    env: { ...process.env, POD_NAME: "me", NODE_NAME: "node1", TCP_PORT: "7001" },
  });
  for (let i = 0; i < 3000 && !listensOn(echo.pid, [8080, 7001]); i++) await Bun.sleep(20);
});
afterAll(async () => {
  echo?.kill();
  await echo?.exited;
  netns.close();
  deleteNamed(name);
});

describe("weft/echo", () => {
  test.each(["10.244.1.2", "fd00:10:244:1::2"])("answers %s with the client's address", (address) => {
    const host = address.includes(":") ? `[${address}]` : address;
    const common = { name: "me", node: "node1", client: address };
    const http = `exec 3<>/dev/tcp/${address}/8080; printf 'POST / HTTP/1.0\\r\\nHost: ${host}\\r\\nContent-Length: 3\\r\\n\\r\\nabc' >&3; tail -n 1 <&3`;
    expect(answer(http)).toMatchObject({ ...common, protocol: "http", bytes: 3 });
    expect(answer(`exec 3<>/dev/tcp/${address}/7001; head -n 1 <&3`)).toMatchObject({
      ...common,
      protocol: "tcp",
      bytes: 0,
    });
    expect(
      answer(`exec 3<>/dev/udp/${address}/7000; printf hello >&3; timeout 20 head -n 1 <&3`),
    ).toMatchObject({
      ...common,
      protocol: "udp",
      bytes: 5,
    });
  });

  test("sends all of a long stream back", () => {
    const bytes = 3_000_000;
    const script = `exec 3<>/dev/tcp/10.244.1.2/7001; read -r line <&3; (head -c ${bytes} /dev/zero >&3) & timeout 60 head -c ${bytes} <&3 | wc -c`;
    expect(bash(script).trim()).toBe(String(bytes));
  });

  test("an address that comes later is answered from too", async () => {
    const ns = openNamespace(namedPath(name));
    ns.replaceAddress({ link: "lo", address: "10.244.9.9/32" as never });
    ns.close();
    let text = "";
    for (let i = 0; i < 200 && text === ""; i++) {
      await Bun.sleep(100);
      text = bash("exec 3<>/dev/udp/10.244.9.9/7000; printf x >&3; timeout 1 head -n 1 <&3");
    }
    expect(JSON.parse(text)).toMatchObject({ protocol: "udp" });
  });

  test("ports and names come from the environment", () => {
    expect(echoOptions({})).toEqual({
      name: "unknown",
      node: "unknown",
      httpPort: 8080,
      tcpPort: 7000,
      udpPort: 7000,
    });
    expect(echoOptions({ HOSTNAME: "h", HTTP_PORT: "80" })).toMatchObject({ name: "h", httpPort: 80 });
    for (const bad of ["0", "65536", "x", "", "-1"]) {
      expect(() => echoOptions({ UDP_PORT: bad })).toThrow(`UDP_PORT="${bad}"`);
    }
  });
});
