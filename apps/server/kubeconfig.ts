/** The kubeconfigs that a server writes: for its administrator, and for Weft's own programs on this machine. */
import { socketUrl } from "@weft/cluster/client";
import { stringify } from "yaml";
import type { Certificates } from "./certificates.ts";

export function kubeconfigText(server: string, { authority, admin }: Certificates): string {
  const data = (text: string): string => Buffer.from(text).toString("base64");
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "weft", cluster: { server, "certificate-authority-data": data(authority) } }],
    users: [
      {
        name: "weft-admin",
        user: { "client-certificate-data": data(admin.cert), "client-key-data": data(admin.key) },
      },
    ],
    contexts: [{ name: "weft", context: { cluster: "weft", user: "weft-admin", namespace: "default" } }],
    "current-context": "weft",
  });
}

/**
 * For `weft agent` and `weft controller` in any network namespace: from most of them there is no way to an address of
 * the machine, and to the socket there is one from all. kubectl knows no such servers.
 */
export const socketKubeconfigText = (socket: string): string =>
  stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "weft", cluster: { server: socketUrl(socket) } }],
    contexts: [{ name: "weft", context: { cluster: "weft", namespace: "default" } }],
    "current-context": "weft",
  });
