import { writeFileSync } from "node:fs";

export interface KubeconfigParts {
  /** Fields of the cluster beside its server. */
  readonly cluster?: object;
  /** Credentials; none by default. */
  readonly user?: object;
}

/** Writes a kubeconfig whose one context leads to this server. Returns the file. */
export function writeKubeconfig(
  file: string,
  server: string,
  { cluster = {}, user = {} }: KubeconfigParts = {},
): string {
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "k", user: "u" } }],
    clusters: [{ name: "k", cluster: { server, ...cluster } }],
    users: [{ name: "u", user }],
  };
  // JSON is YAML.
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  return file;
}
