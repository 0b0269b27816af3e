/** The kubeconfig that a server writes for its administrator. */
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
