/**
 * API servers on a unix socket: `server: unix:///var/lib/weft/server/server.sock` in a kubeconfig. HTTP is spoken there
 * without TLS: whoever may open the file may ask. It is reached from every network namespace of the machine, which an
 * address on the loopback is not. `weft server` writes such a kubeconfig; kubectl cannot use it.
 */

/** Bytes of a socket's path that the kernel takes (unix(7): sun_path, with a zero at its end). */
const MOST_PATH = 107;

/** Path of the socket of a server's URL; undefined of all other URLs. */
export function socketOf(server: string): string | undefined {
  return server.startsWith("unix:") ? decodeURIComponent(new URL(server).pathname) : undefined;
}

/** The URL of a socket's path. */
export const socketUrl = (path: string): string =>
  `unix://${path.split("/").map(encodeURIComponent).join("/")}`;

/** What is wrong with the URL of a socket, or undefined. */
export function socketFault(url: URL): string | undefined {
  if (url.host !== "" || url.search !== "" || url.hash !== "" || url.pathname.length < 2)
    return "must name the socket by its whole path, like unix:///var/lib/weft/server/server.sock";
  let path: string;
  try {
    path = decodeURIComponent(url.pathname);
  } catch {
    return "must not have a % that begins no %XX";
  }
  const bytes = Buffer.byteLength(path);
  if (bytes <= MOST_PATH && !path.includes("\0")) return undefined;
  return `must be a path of at most ${MOST_PATH} bytes, which the kernel takes for a socket: it has ${bytes}`;
}
