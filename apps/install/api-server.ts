/**
 * The address by which agents and controller reach the API server. Usually pods go through the service "kubernetes",
 * which kube-proxy or whoever provides services has to set up first; a direct address needs nobody.
 */
import { parseIp, WeftError } from "@weft/base";

export interface ApiServer {
  /** A name or an address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Reads "https://HOST:PORT"; the port is 443 when absent. Throws "invalid". */
export function parseApiServer(text: string): ApiServer {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const bare = url !== undefined && url.username === "" && url.search === "" && url.hash === "";
  if (url === undefined || !bare || url.protocol !== "https:" || !/^\/?$/.test(url.pathname)) {
    throw new WeftError("invalid", `"${text}" is no address of an API server`, {
      hint: "Write it like https://10.0.0.1:6443 or https://[fd00::1]:6443, without a path.",
    });
  }
  return { host: url.hostname.replace(/^\[(.*)\]$/, "$1"), port: url.port === "" ? 443 : Number(url.port) };
}

/**
 * What a kubeconfig's server means for the nodes; `unusable` says why it cannot be theirs: an address of the
 * administrator's own machine, a tunnel or a proxy.
 */
export function apiServerOf(server: string): { apiServer?: ApiServer; unusable?: string } {
  let apiServer: ApiServer;
  try {
    apiServer = parseApiServer(server);
  } catch {
    return { unusable: `${server} is no plain https address` };
  }
  if (isLoopback(apiServer.host)) return { unusable: `${server} is this machine only` };
  return { apiServer };
}

function isLoopback(host: string): boolean {
  if (host === "localhost" || host.endsWith(".localhost")) return true;
  try {
    const ip: string = parseIp(host);
    return ip.startsWith("127.") || ip === "::1" || ip === "0.0.0.0" || ip === "::";
  } catch {
    return false;
  }
}
