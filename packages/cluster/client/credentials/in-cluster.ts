/**
 * Credentials of a pod's service account, as the kubelet puts them into every pod
 * (Kubernetes documentation, "Accessing the Kubernetes API from a Pod").
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Clock, WeftError } from "@weft/base";
import { parseCertificates } from "./certificate.ts";
import { parseToken, RotatingFile } from "./rotating-file.ts";
import type { Credentials } from "./types.ts";

export const SERVICE_ACCOUNT_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount";

export interface InClusterOptions {
  readonly directory?: string;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly clock?: Clock;
}

/** True when the environment is a pod's. */
export function isInCluster(environment: InClusterOptions["environment"] = process.env): boolean {
  return Boolean(environment["KUBERNETES_SERVICE_HOST"] && environment["KUBERNETES_SERVICE_PORT"]);
}

/** Throws "not-found" outside of a pod, and WeftError naming the file for what is wrong with the mounted ones. */
export function inClusterCredentials(options: InClusterOptions = {}): Credentials {
  const { directory = SERVICE_ACCOUNT_DIRECTORY, environment = process.env, clock } = options;
  const host = environment["KUBERNETES_SERVICE_HOST"];
  const port = environment["KUBERNETES_SERVICE_PORT"];
  if (!host || !port) {
    throw new WeftError("not-found", "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not both set", {
      hint: "This only works inside of a pod; elsewhere name a kubeconfig.",
    });
  }
  const file = <T>(name: string, parse: (text: string, source: string) => T): RotatingFile<T> => {
    const path = join(directory, name);
    return new RotatingFile(path, "service account file", (text) => parse(text, path), clock);
  };
  const token = file("token", parseToken);
  const ca = file("ca.crt", parseCertificates);
  token.read();
  ca.read();
  return {
    server: serverUrl(host, port),
    namespace: readNamespace(join(directory, "namespace")),
    source: `service account in ${directory}`,
    trust: () => ({ ca: ca.read(), caSource: ca.path, serverName: undefined, insecure: false }),
    identity: async () => ({
      headers: [["Authorization", `Bearer ${token.read()}`]],
      certificate: undefined,
      source: token.path,
    }),
    refused: () => token.forget(),
  };
}

function serverUrl(host: string, port: string): string {
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  const url = `https://${bare.includes(":") ? `[${bare}]` : bare}:${port}`;
  if (/^\d{1,5}$/.test(port) && URL.canParse(url)) return url;
  throw new WeftError("invalid", `KUBERNETES_SERVICE_HOST "${host}" and KUBERNETES_SERVICE_PORT "${port}"`, {
    hint: "They must be an address and a port number.",
  });
}

function readNamespace(path: string): string {
  try {
    return readFileSync(path, "utf8").trim() || "default";
  } catch {
    // A projected volume need not have it, and only requests without a namespace would need it.
    return "default";
  }
}
