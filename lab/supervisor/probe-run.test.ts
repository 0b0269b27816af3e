/** Probes with real sockets, in a namespace of their own. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createAnonymous, inNetns, type NetnsHandle, spawnIn, spawnSyncIn } from "@weft/kernel/netns";
import { runProbe } from "./probe-run.ts";

const CONTAINER = { name: "c", image: "x", ports: [{ name: "http", containerPort: 8080 }] };
const SERVER = `Bun.serve({ hostname: "::", port: 8080, async fetch(r) {
  const { pathname } = new URL(r.url);
  if (pathname === "/slow") await Bun.sleep(600_000);
  const status = pathname === "/moved" ? 302 : pathname === "/bad" ? 500 : r.headers.get("x-key") === "1" ? 204 : 200;
  return new Response("x".repeat(100000), { status, headers: { location: "http://elsewhere/" } });
}}); console.log("up")`;

/** Of what answers in time. */
const PATIENCE_MS = 30_000;

let namespace: NetnsHandle;
let server: { kill(signal?: NodeJS.Signals): void };
const ask = (handler: Parameters<typeof runProbe>[0], address = "127.0.0.1", ms = PATIENCE_MS) => {
  const environment = { PATH: process.env["PATH"] ?? "", WORD: "hello" };
  const place = { node: namespace, pod: namespace, addresses: [address], environment };
  return runProbe(handler, CONTAINER, place, ms);
};

beforeAll(async () => {
  namespace = createAnonymous();
  spawnSyncIn(namespace, ["ip", "link", "set", "lo", "up"]);
  const child = spawnIn(namespace, [process.execPath, "-e", SERVER], { stdout: "pipe" });
  server = child;
  await child.stdout.getReader().read();
});
afterAll(() => {
  server.kill("SIGKILL");
  namespace.close();
});

describe("http", () => {
  test.each([
    ["200", { port: 8080 }, "127.0.0.1", true, ""],
    ["a named port, IPv6", { port: "http", path: "/" }, "::1", true, ""],
    ["a redirection is not followed", { port: 8080, path: "/moved" }, "127.0.0.1", true, ""],
    ["500", { port: 8080, path: "/bad" }, "127.0.0.1", false, "statuscode: 500"],
    ["headers", { port: 8080, httpHeaders: [{ name: "X-Key", value: "1" }] }, "127.0.0.1", true, ""],
    ["another port", { port: 8081 }, "127.0.0.1", false, "connection refused"],
    ["a port that is not there", { port: "grpc" }, "127.0.0.1", false, "no port named grpc"],
    ["too slow", { port: 8080, path: "/slow" }, "127.0.0.1", false, "deadline exceeded"],
  ])("%s", async (_, httpGet, address, ok, message) => {
    const answer = await ask({ httpGet }, address, message === "deadline exceeded" ? 800 : PATIENCE_MS);
    expect(answer.ok).toBe(ok);
    expect(answer.message).toContain(message);
  });
});

test("tcp", async () => {
  expect((await ask({ tcpSocket: { port: 8080 } })).ok).toBe(true);
  expect((await ask({ tcpSocket: { port: 9 } })).message).toContain("refused");
});

test("commands have the pod's network and the container's environment", async () => {
  const run = (script: string, ms?: number) =>
    ask({ exec: { command: ["bash", "-c", script] } }, "127.0.0.1", ms);
  expect((await run("[[ $WORD == hello ]] && exec 3<>/dev/tcp/127.0.0.1/8080")).ok).toBe(true);
  expect(await run("echo why; exit 2")).toEqual({ ok: false, message: "why" });
  expect((await run("sleep 600", 200)).message).toContain("timed out");
  expect((await ask({ exec: { command: ["no-such-command"] } })).ok).toBe(false);
  expect((await ask({ exec: {} })).ok).toBe(false);
});

test("what a command has left running holds up nobody", async () => {
  const run = (script: string, ms?: number) =>
    ask({ exec: { command: ["bash", "-c", script] } }, "127.0.0.1", ms);
  expect((await run("sleep 60; true", 200)).message).toContain("timed out");
  expect((await run("sleep 60 & wait", 200)).message).toContain("timed out");
  const { ok, message } = await run("setsid sleep 60 & echo $!; exit 3");
  process.kill(Number(message), "SIGKILL");
  expect(ok).toBe(false);
});

test("what the lab does not have is a failure that says so", async () => {
  expect((await ask({ grpc: {} })).message).toContain("httpGet, tcpSocket and exec only");
  expect(inNetns(namespace.fd, () => true)).toBe(true);
});
