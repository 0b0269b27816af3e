import { afterEach, beforeEach, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import type { Mac } from "@weft/base";
import { createAnonymous } from "../netns/index.ts";
import type { KernelEvent } from "../port.ts";
import { RealNamespace } from "./namespace.ts";
import { watch } from "./watch.ts";

const MAC = "02:00:00:00:00:0a" as Mac;
let a: RealNamespace;
let b: RealNamespace;
beforeEach(() => {
  a = new RealNamespace(createAnonymous());
  b = new RealNamespace(createAnonymous());
});
afterEach(() => {
  a.close();
  b.close();
});

async function eventually(check: () => boolean): Promise<void> {
  for (let i = 0; i < 6000 && !check(); i++) await Bun.sleep(5);
  expect(check()).toBe(true);
}

const count = (events: readonly KernelEvent[], kind: KernelEvent["kind"]): number =>
  events.filter((e) => e.kind === kind).length;

test("every event arrives, in order, from each namespace with its id", async () => {
  const id = a.nsidOf(b);
  const events: KernelEvent[] = [];
  const stop = watch(a, (event) => events.push(event), { allNamespaces: true });
  for (let i = 0; i < 20; i++) (i % 2 === 0 ? a : b).createBridge(`weft${i}`, MAC, 1500);
  const seen = () => [
    ...new Set(events.flatMap((e) => (e.kind === "link" ? `${e.nsid} ${e.link} ${e.change}` : []))),
  ];
  await eventually(() => seen().length === 20);
  expect(seen()).toEqual(
    Array.from({ length: 20 }, (_, i) => `${i % 2 === 0 ? undefined : id} weft${i} set`),
  );
  stop();
});

test("a small queue overflows, says so, and goes on", async () => {
  const events: KernelEvent[] = [];
  const stop = watch(a, (event) => events.push(event), { receiveBuffer: 8192 });
  a.createBridge("weft0", MAC, 1500);
  for (let i = 0; i < 100; i++) a.changeLink("weft0", { mtu: 1400 + i });
  await eventually(() => count(events, "overflow") > 0);
  const before = events.length;
  a.changeLink("weft0", { up: true });
  await eventually(() => events.slice(before).some((e) => e.kind === "link" && e.link === "weft0"));
  stop();
});

test("a full bell loses nothing of the mailbox", async () => {
  const events: KernelEvent[] = [];
  const stop = watch(a, (event) => events.push(event), { receiveBuffer: 16 << 20 });
  a.createBridge("weft0", MAC, 1500);
  // The kernel tells of a new alias only when the link is up.
  a.changeLink("weft0", { up: true });
  for (let i = 0; i < 2000; i++) a.changeLink("weft0", { alias: `${i}` });
  await eventually(() => count(events, "link") >= 2001);
  expect(count(events, "overflow")).toBe(0);
  stop();
});

test("a port that leaves its bridge is not a link that is gone", async () => {
  const events: KernelEvent[] = [];
  a.createBridge("weft-br", MAC, 1500);
  a.createVeth({ name: "weft-a", mac: MAC, mtu: 1500, peer: { name: "weft-b", mac: MAC, mtu: 1500 } });
  a.changeLink("weft-a", { master: "weft-br" });
  const stop = watch(a, (event) => events.push(event));
  a.changeLink("weft-a", { master: null });
  a.changeLink("weft-b", { up: true });
  await eventually(() => events.some((e) => e.kind === "link" && e.link === "weft-b"));
  expect(events.filter((e) => e.kind === "link" && e.change === "gone")).toEqual([]);
  stop();
});

test("a listener may stop its own watch, and nothing is left open", async () => {
  const before = readdirSync("/proc/self/fd").length;
  for (let i = 0; i < 10; i++) {
    let heard = 0;
    const stop = watch(a, () => {
      heard++;
      stop();
    });
    a.createBridge(`weft-x${i}`, MAC, 1500);
    a.changeLink(`weft-x${i}`, { up: true });
    await eventually(() => heard > 0);
    expect(heard).toBe(1);
    watch(a, () => {})();
  }
  await eventually(() => readdirSync("/proc/self/fd").length <= before + 1);
});

test("an open watch keeps no process alive", async () => {
  const script = `
    import { openKernel } from ${JSON.stringify(new URL("../index.ts", import.meta.url).pathname)};
    openKernel().watch(() => {}, { allNamespaces: true });
    await Bun.sleep(20);
    console.log("ready");`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
  expect((await child.stdout.text()).trim()).toBe("ready");
  expect(await child.exited).toBe(0);
});
