import { afterEach, expect, test } from "bun:test";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { serve } from "./bridge.ts";

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

/** A server whose every answer is `stream`, and a client that has sent its request and reads nothing yet. */
async function ask(stream: () => ReadableStream<Uint8Array>): Promise<Socket> {
  server = createServer(
    (incoming, outgoing) => void serve(incoming, outgoing, async () => new Response(stream())),
  );
  await new Promise<void>((done) => server?.listen(0, "127.0.0.1", done));
  const socket = connect({ host: "127.0.0.1", port: (server.address() as AddressInfo).port });
  socket.write("GET / HTTP/1.1\r\nHost: server\r\nConnection: close\r\n\r\n");
  socket.pause();
  return socket;
}

async function until(done: () => boolean): Promise<void> {
  for (let i = 0; i < 6000 && !done(); i++) await Bun.sleep(10);
  expect(done()).toBe(true);
}

const CHUNK = 64 * 1024;

test("who reads slowly gets all of it, and no more is made than fits on the way", async () => {
  const COUNT = 400;
  let made = 0;
  const socket = await ask(
    () =>
      new ReadableStream({
        pull(controller) {
          if (made === COUNT) controller.close();
          else controller.enqueue(new Uint8Array(CHUNK).fill(made++ % 251));
        },
      }),
  );
  await until(() => made > 0);
  await Bun.sleep(200);
  expect(made).toBeLessThan(COUNT);
  const sums = new Array<number>(251).fill(0);
  let head = Buffer.alloc(0);
  let body = false;
  socket.on("data", (data: Buffer) => {
    if (!body) {
      head = Buffer.concat([head, data]);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) return;
      body = true;
      data = head.subarray(end + 4);
    }
    for (const byte of data) if (byte < 251) sums[byte] = (sums[byte] as number) + 1;
  });
  socket.resume();
  await new Promise((done) => socket.once("close", done));
  // Bytes of the chunks' own sizes are among them.
  for (const [i, sum] of sums.entries()) {
    const chunks = Math.floor(COUNT / 251) + (i < COUNT % 251 ? 1 : 0);
    expect(sum).toBeGreaterThanOrEqual(chunks * CHUNK);
  }
}, 120_000);

test.each(["while the answer waits for the client", "while it waits for something to send"])(
  "a client that goes ends its answer: %s",
  async (when) => {
    let [made, cancelled] = [0, false];
    const socket = await ask(
      () =>
        new ReadableStream({
          pull(controller) {
            if (when.endsWith("send") && made > 0) return new Promise(() => {});
            made++;
            controller.enqueue(new Uint8Array(CHUNK));
            return undefined;
          },
          cancel() {
            cancelled = true;
          },
        }),
    );
    await until(() => made > 0);
    await Bun.sleep(200);
    expect(cancelled).toBe(false);
    socket.destroy();
    await until(() => cancelled);
  },
);

test("a long watch leaves nothing behind for each of its events", async () => {
  const EVENTS = 100_000;
  let [sent, most] = [0, 2000];
  let go = (): void => {};
  const event = new Uint8Array(10);
  const socket = await ask(
    () =>
      new ReadableStream({
        async pull(controller) {
          if (sent === most) {
            await new Promise<void>((resolve) => {
              go = resolve;
            });
          }
          // As many turns as events: each is waited for by itself.
          await undefined;
          sent++;
          controller.enqueue(event);
        },
      }),
  );
  socket.resume();
  await until(() => sent === most);
  const used = (): number => {
    Bun.gc(true);
    return process.memoryUsage().heapUsed;
  };
  const before = used();
  most += EVENTS;
  go();
  await until(() => sent === most);
  expect((used() - before) / EVENTS).toBeLessThan(50);
  socket.destroy();
}, 120_000);

test("an answer that fails in the middle is cut off, and nobody else hears of it", async () => {
  const unheard: unknown[] = [];
  const hear = (error: unknown): void => void unheard.push(error);
  process.on("unhandledRejection", hear);
  try {
    let made = 0;
    const socket = await ask(
      () =>
        new ReadableStream({
          pull(controller) {
            if (made++ > 0) throw new Error("the data file is closed");
            controller.enqueue(new Uint8Array(10));
          },
        }),
    );
    socket.on("error", () => {});
    socket.resume();
    await new Promise((done) => socket.once("close", done));
    await Bun.sleep(20);
    expect(unheard).toEqual([]);
  } finally {
    process.off("unhandledRejection", hear);
  }
});
