/**
 * One probe, done: HTTP and TCP from the node to the pod's address, as a kubelet does it, and commands with the pod's
 * network and the container's environment. Sockets are made in the node's namespace and connected there; everything else
 * happens in this thread's own, since a socket stays where it was made.
 */
import { describeError, familyOf, parseIp, systemClock, unlessAborted } from "@weft/base";
import { drain, OutputCollector } from "@weft/cni/runtime";
import { inNetns, spawnIn } from "@weft/kernel/netns";
import {
  closeFd,
  connectSocket,
  domainOf,
  EPOLL,
  encodeSocketAddress,
  getOption,
  openSocket,
  Poller,
  SO,
  SOCK,
  SOL_SOCKET,
} from "@weft/kernel/sys";
import type { Container, Handler } from "../controllers/objects.ts";
import { endGroup } from "./keep-running.ts";
import { portOf } from "./probe-state.ts";

export interface ProbePlace {
  readonly node: { readonly fd: number };
  readonly pod: { readonly fd: number };
  /** Of the pod, the first counts. */
  readonly addresses: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

export interface ProbeAnswer {
  readonly ok: boolean;
  /** For the event: why it failed. */
  readonly message: string;
}

const LOOK_EVERY_MS = 5;
/** How long the outputs of a command that has ended may stay open. */
const LINGER_MS = 200;
/** Of what a command says in vain, in bytes. */
const MOST_OUTPUT = 1024;

/** Never rejects: what goes wrong is a failure, and so is what `signal` calls off. */
export async function runProbe(
  handler: Handler,
  container: Container,
  place: ProbePlace,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<ProbeAnswer> {
  try {
    return await unlessAborted(probe(handler, container, place, timeoutMs, signal), signal);
  } catch (error) {
    return { ok: false, message: describeError(error) };
  }
}

async function probe(
  handler: Handler,
  container: Container,
  place: ProbePlace,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<ProbeAnswer> {
  if (handler.exec !== undefined) return command(handler.exec.command ?? [], place, timeoutMs, signal);
  const target = handler.httpGet ?? handler.tcpSocket;
  if (target === undefined)
    return { ok: false, message: "the lab has probes by httpGet, tcpSocket and exec only" };
  const port = portOf(container, target.port);
  if (port === undefined) return { ok: false, message: `the container has no port named ${target.port}` };
  const host = target.host ?? place.addresses[0] ?? "";
  const end = performance.now() + timeoutMs;
  const fd = await connect(place.node, host, port, end);
  if (handler.httpGet === undefined) {
    closeFd(fd);
    return { ok: true, message: "" };
  }
  return request(fd, handler.httpGet, host, port, end);
}

/** A connected socket. Throws when it comes to nothing in time. */
async function connect(
  namespace: { readonly fd: number },
  host: string,
  port: number,
  end: number,
): Promise<number> {
  const ip = parseIp(host);
  const type = SOCK.stream | SOCK.nonblock | SOCK.cloexec;
  const fd = inNetns(namespace.fd, () => openSocket(domainOf(familyOf(ip)), type, 0));
  const poller = new Poller();
  try {
    if (connectSocket(fd, encodeSocketAddress({ ip, port }))) return fd;
    poller.add(fd, EPOLL.out);
    let done = false;
    while (!done) {
      poller.poll(() => {
        done = true;
      });
      if (!done && performance.now() >= end) throw new Error(`dial tcp ${host}:${port}: timed out`);
      if (!done) await Bun.sleep(LOOK_EVERY_MS);
    }
    if (getOption(fd, SOL_SOCKET, SO.error) !== 0)
      throw new Error(`dial tcp ${host}:${port}: connect: connection refused`);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  } finally {
    poller.close();
  }
}

/** From 200 to 399 is well. */
async function request(
  fd: number,
  { path = "/", scheme = "HTTP", httpHeaders = [] }: NonNullable<Handler["httpGet"]>,
  host: string,
  port: number,
  end: number,
): Promise<ProbeAnswer> {
  const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const given = httpHeaders.map(({ name, value }) => `${name}: ${value}`);
  const own = [
    ["Host", authority],
    ["User-Agent", "kube-probe/weft"],
    ["Accept", "*/*"],
    ["Connection", "close"],
  ].flatMap(([name, value]) =>
    httpHeaders.some((h) => h.name.toLowerCase() === name?.toLowerCase()) ? [] : [`${name}: ${value}`],
  );
  const head = [`GET ${path.startsWith("/") ? path : `/${path}`} HTTP/1.1`, ...own, ...given, "", ""].join(
    "\r\n",
  );
  const answer = Promise.withResolvers<string>();
  let said = "";
  const socket = await Bun.connect({
    fd,
    ...(scheme === "HTTPS" ? { tls: { rejectUnauthorized: false } } : {}),
    socket: {
      data(_socket: unknown, bytes: Uint8Array) {
        said += Buffer.from(bytes).toString("latin1");
        if (said.includes("\r\n") || said.length > MOST_OUTPUT) answer.resolve(said);
      },
      close: () => answer.resolve(said),
      error: (_socket: unknown, error: Error) => answer.reject(error),
    },
  } as unknown as Bun.UnixSocketOptions<undefined>);
  const url = `${scheme.toLowerCase()}://${authority}${path}`;
  const timer = setTimeout(
    () => answer.reject(new Error(`Get "${url}": context deadline exceeded (no answer in time)`)),
    Math.max(1, end - performance.now()),
  );
  try {
    socket.write(head);
    socket.flush();
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(await answer.promise)?.[1];
    if (status === undefined) return { ok: false, message: `Get "${url}": no answer of HTTP` };
    const ok = Number(status) >= 200 && Number(status) < 400;
    return { ok, message: ok ? "" : `HTTP probe failed with statuscode: ${status}` };
  } finally {
    clearTimeout(timer);
    socket.terminate();
  }
}

/** Whatever it has started in its group ends with it when the time is over. */
async function command(
  argv: readonly string[],
  place: ProbePlace,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<ProbeAnswer> {
  if (argv.length === 0) return { ok: false, message: "there is no command" };
  const child = spawnIn(place.pod, [...argv], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...place.environment },
    detached: true,
  });
  const outputs = [new OutputCollector(child.stdout), new OutputCollector(child.stderr)];
  let late = false;
  const end = (): void => {
    late = true;
    endGroup(child.pid);
  };
  const timer = setTimeout(end, timeoutMs);
  if (signal?.aborted) end();
  else signal?.addEventListener("abort", end, { once: true });
  await child.exited;
  clearTimeout(timer);
  signal?.removeEventListener("abort", end);
  await drain(outputs, LINGER_MS, systemClock);
  if (late) return { ok: false, message: `command timed out: ${argv.join(" ")}` };
  if (child.exitCode === 0) return { ok: true, message: "" };
  const said = outputs.map((o) => o.text()).join("");
  return { ok: false, message: said.trim().slice(0, MOST_OUTPUT) || `exit code ${child.exitCode}` };
}
