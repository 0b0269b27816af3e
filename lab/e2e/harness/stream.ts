/**
 * A TCP stream that tells whether it was ever held up; a program, so that it can run in a pod.
 *
 *   bun stream.ts receive ADDRESS PORT           counts what one sender sends, and tells it the count every 20 ms
 *   bun stream.ts send ADDRESS PORT MILLISECONDS  sends at a steady pace; prints an Outcome as JSON
 */

export interface Outcome {
  readonly sent: number;
  /** What the receiver had when the connection ended. */
  readonly received: number;
  /** Longest time without a higher count, milliseconds. */
  readonly longestStall: number;
  /** What went wrong with the connection, if anything did. */
  readonly error: string | undefined;
}

const CHUNK = Buffer.alloc(32 << 10);
const PACE_MS = 5;
const REPORT_MS = 20;
/** After the last byte, until the receiver has all of it. */
const PATIENCE_MS = 20_000;

function receive(hostname: string, port: number): void {
  Bun.listen<{ count: number; timer: ReturnType<typeof setInterval> | undefined }>({
    hostname,
    port,
    socket: {
      open(socket) {
        const timer = setInterval(() => socket.write(`${socket.data.count}\n`), REPORT_MS);
        socket.data = { count: 0, timer };
      },
      data(socket, bytes) {
        socket.data.count += bytes.length;
      },
      close(socket) {
        clearInterval(socket.data.timer);
        process.exit(0);
      },
    },
  });
  console.log("listening");
}

async function send(hostname: string, port: number, milliseconds: number): Promise<Outcome> {
  let sent = 0;
  let received = 0;
  let longestStall = 0;
  let last = performance.now();
  let text = "";
  let error: string | undefined;
  const socket = await Bun.connect({
    hostname,
    port,
    socket: {
      data(_, bytes) {
        text += bytes.toString();
        const lines = text.split("\n");
        text = lines.pop() ?? "";
        const count = Number(lines.at(-1) ?? received);
        const now = performance.now();
        if (count > received) {
          longestStall = Math.max(longestStall, now - last);
          last = now;
        }
        received = count;
      },
      error(_, e) {
        error = e.message;
      },
      close() {
        error ??= "the connection was closed";
      },
    },
  });
  const end = performance.now() + milliseconds;
  while (performance.now() < end && error === undefined) {
    sent += Math.max(0, socket.write(CHUNK));
    await Bun.sleep(PACE_MS);
  }
  const patience = performance.now() + PATIENCE_MS;
  while (received < sent && error === undefined && performance.now() < patience) await Bun.sleep(REPORT_MS);
  return { sent, received, longestStall: Math.round(longestStall), error };
}

if (import.meta.main) {
  const [mode, address = "", port, milliseconds] = process.argv.slice(2);
  if (mode === "receive") receive(address, Number(port));
  else {
    console.log(JSON.stringify(await send(address, Number(port), Number(milliseconds))));
    process.exit(0);
  }
}
