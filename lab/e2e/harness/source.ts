/**
 * Tells whom it was asked by; a program, so that it can run in a pod or outside of the cluster.
 *
 *   bun source.ts serve PORT                        answers every TCP chunk and UDP datagram with its sender's address
 *   bun source.ts ask tcp|udp ADDRESS PORT          prints the answer; exits with 1 when there is none for 10 s
 *   bun source.ts hold ADDRESS PORT MILLISECONDS    one TCP connection, asked every 100 ms; prints each new answer
 */
const PATIENCE_MS = 10_000;
const PACE_MS = 100;

async function serve(port: number): Promise<void> {
  // Both families: IPv4 addresses come as ::ffff:192.0.2.1.
  const plain = (address: string): string => `${address.replace(/^::ffff:/, "")}\n`;
  Bun.listen({
    hostname: "::",
    port,
    socket: { data: (socket) => void socket.write(plain(socket.remoteAddress)) },
  });
  await Bun.udpSocket({
    hostname: "::",
    port,
    socket: { data: (socket, _, from, address) => void socket.send(plain(address), from, address) },
  });
  console.log("listening");
}

async function connect(hostname: string, port: number, answer: (text: string) => void) {
  return Bun.connect({
    hostname,
    port,
    socket: {
      data: (_, bytes) => answer(bytes.toString().trim()),
      close: () => answer("closed"),
      connectError: () => answer("no connection"),
    },
  });
}

async function ask(protocol: string, hostname: string, port: number): Promise<string> {
  const answered = Promise.withResolvers<string>();
  setTimeout(() => answered.reject(new Error("no answer")), PATIENCE_MS);
  if (protocol === "tcp") {
    connect(hostname, port, answered.resolve).then((socket) => socket.write("?"), answered.reject);
  } else {
    const socket = await Bun.udpSocket({
      hostname: hostname.includes(":") ? "::" : "0.0.0.0",
      connect: { hostname, port },
      socket: { data: (_, bytes) => answered.resolve(bytes.toString().trim()) },
    });
    socket.send("?");
  }
  return answered.promise;
}

async function hold(hostname: string, port: number, milliseconds: number): Promise<void> {
  let last = "";
  const socket = await connect(hostname, port, (text) => {
    const line = text.split("\n").at(-1) ?? "";
    if (line !== last) console.log(line);
    last = line;
  });
  for (const end = performance.now() + milliseconds; performance.now() < end; await Bun.sleep(PACE_MS))
    socket.write("?");
}

if (import.meta.main) {
  const [mode, a = "", b = "", c = ""] = process.argv.slice(2);
  if (mode === "serve") await serve(Number(a));
  else {
    if (mode === "ask") console.log(await ask(a, b, Number(c)).catch((e: Error) => e.message));
    else await hold(a, Number(b), Number(c));
    process.exit(0);
  }
}
