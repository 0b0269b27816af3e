/**
 * The server of `weft server`: one data file, two ways in.
 *
 *   https  127.0.0.1:6443   a client certificate of the server's authority, or a bearer token
 *   unix   server.sock      whoever may open it: root
 *
 * Whoever is let in may do everything: there are no roles. Health is for everybody.
 */
import { join, resolve } from "node:path";
import { type Logger, replaceFile } from "@weft/base";
import { registerDefinitions } from "@weft/cluster/definitions";
import { ApiServer, type ServiceSettings, unauthorized } from "@weft/cluster/server";
import type { Certificates } from "./certificates.ts";
import { listenHttps } from "./https.ts";
import { kubeconfigText, socketKubeconfigText } from "./kubeconfig.ts";
import type { CertificateState } from "./renewal.ts";
import { listenSocket } from "./socket.ts";
import { tokenCheck } from "./tokens.ts";

export interface ServerOptions {
  /** Holds the data, certificates, socket and kubeconfig. */
  readonly data: string;
  readonly address: string;
  /** More names and addresses that clients know the server by. */
  readonly names: readonly string[];
  /** 0 is any that is free. */
  readonly port: number;
  readonly socket: string | undefined;
  readonly tokens: string | undefined;
  readonly kubeconfig: string | undefined;
  readonly services: ServiceSettings;
  readonly logger: Logger;
  /** Milliseconds between looks at the certificates, and the time: an hour, and the machine's. */
  readonly renewal?: { readonly every?: number; readonly now?: () => number };
}

export interface RunningServer {
  readonly url: string;
  readonly socket: string;
  readonly kubeconfig: string;
  /** The same server by its socket, for Weft's own programs. */
  readonly socketKubeconfig: string;
  readonly api: ApiServer;
  stop(): Promise<void>;
}

export const dataFile = (directory: string): string => join(resolve(directory), "weft.db");

export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { address, port, services, logger } = options;
  const data = resolve(options.data);
  const mayEnter = tokenCheck(options.tokens);
  const api = await ApiServer.start({ file: dataFile(data), services, logger });
  const stops: (() => Promise<void>)[] = [() => api.stop()];
  const stop = async (): Promise<void> => {
    for (const each of stops.splice(0).reverse()) await each();
  };
  try {
    await registerDefinitions((request) => api.handle(request));
    let states: (() => readonly CertificateState[]) | undefined;
    // First, because it needs nothing else: to load what makes certificates, and to make them, takes half a second.
    const socket = resolve(options.socket ?? join(data, "server.sock"));
    const local = await listenSocket(socket, async (request) => {
      const response = await api.handle(request);
      return isHealth(request) && states !== undefined ? health(request, response, states()) : response;
    });
    stops.push(() => local.stop());
    const [{ loadCertificates }, { keepCertificates }] = await Promise.all([
      import("./certificates.ts"),
      import("./renewal.ts"),
    ]);
    const { every, now = Date.now } = options.renewal ?? {};
    const load = (): Promise<Certificates> =>
      loadCertificates(join(data, "pki"), hostsOf(address, options.names), now());
    const certificates = await load();
    const kept = keepCertificates({
      certificates,
      load,
      now,
      logger,
      ...(every === undefined ? {} : { every }),
    });
    states = () => kept.states();
    stops.push(() => kept.stop());
    const https = await listenHttps(address, port, certificates, async (request, certified) => {
      if (isHealth(request)) return health(request, await api.handle(request), kept.states());
      if (certified || mayEnter(request.headers.get("authorization"))) return api.handle(request);
      return refused();
    });
    stops.push(() => https.stop());
    // An address that stands for all of them is none that a client can go to.
    const host = options.names[0] ?? LOOPBACK_OF[address] ?? address;
    const url = `https://${host.includes(":") ? `[${host}]` : host}:${https.port}`;
    const kubeconfig = resolve(options.kubeconfig ?? join(data, "kubeconfig"));
    const writeKubeconfig = (of: Certificates): void =>
      replaceFile(kubeconfig, kubeconfigText(url, of), 0o600);
    writeKubeconfig(certificates);
    kept.follow(async (next) => {
      writeKubeconfig(next);
      await https.reload(next);
    });
    const socketKubeconfig = `${kubeconfig}.socket`;
    replaceFile(socketKubeconfig, socketKubeconfigText(socket), 0o600);
    logger.info("serving", { url, socket, kubeconfig });
    return { url, socket, kubeconfig, socketKubeconfig, api, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What a client on this machine reaches a wildcard address by. */
const LOOPBACK_OF: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

const hostsOf = (address: string, names: readonly string[]): string[] => {
  const own = address in LOOPBACK_OF ? [] : [address];
  return [...new Set([...own, ...names, "127.0.0.1", "::1", "localhost"])];
};

const isHealth = ({ method, url }: Request): boolean =>
  method === "GET" && /^\/(healthz|livez|readyz|version)$/.test(new URL(url).pathname);

/** Of /readyz what the certificates say counts too; with "verbose" all of it is told, as kube-apiserver does. */
async function health(
  request: Request,
  response: Response,
  certificates: readonly CertificateState[],
): Promise<Response> {
  const { pathname, searchParams } = new URL(request.url);
  if (pathname !== "/readyz") return response;
  const checks = [
    { name: "storage", ok: response.ok, detail: response.ok ? "" : await response.text() },
    ...certificates,
  ];
  const ok = checks.every((check) => check.ok);
  if (ok && !searchParams.has("verbose")) return response;
  const lines = checks.map(({ name, ok, detail }) => {
    return `[${ok ? "+" : "-"}]${name} ${ok ? "ok" : "failed"}${detail === "" ? "" : `: ${detail}`}`;
  });
  const text = `${lines.join("\n")}\nreadyz check ${ok ? "passed" : "failed"}\n`;
  return new Response(text, { status: ok ? 200 : 500 });
}

function refused(): Response {
  const failure = unauthorized();
  return Response.json(failure.toStatus(), { status: failure.status });
}
