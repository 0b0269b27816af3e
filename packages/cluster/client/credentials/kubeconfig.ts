/** Credentials of one context of a kubeconfig. */
import { delimiter, join } from "node:path";
import { type Clock, WeftError } from "@weft/base";
import type { Field } from "../../field.ts";
import { socketFault } from "../unix-socket.ts";
import { parseCertificates } from "./certificate.ts";
import { type Entry, type Kubeconfig, readKubeconfig } from "./kubeconfig-file.ts";
import type { Credentials, Trust } from "./types.ts";
import { pemSource, readUser } from "./user.ts";

export interface KubeconfigOptions {
  /** One file, which must be there. Otherwise the list in KUBECONFIG, or else ~/.kube/config. */
  readonly path?: string;
  /** Otherwise the file's current context. */
  readonly context?: string;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly clock?: Clock;
}

/** The files that such options mean, present or not. */
export function kubeconfigPaths({ path, environment = process.env }: KubeconfigOptions): string[] {
  if (path !== undefined) return [path];
  const listed = (environment["KUBECONFIG"] ?? "").split(delimiter).filter((part) => part !== "");
  if (listed.length > 0) return [...new Set(listed)];
  const home = environment["HOME"];
  return home === undefined ? [] : [join(home, ".kube", "config")];
}

/** Throws WeftError that names file and field. Only the chosen context with its cluster and user is looked at. */
export function kubeconfigCredentials(options: KubeconfigOptions = {}): Credentials {
  const paths = kubeconfigPaths(options);
  const config = readKubeconfig(paths, options.path === undefined);
  const where = config.files.join(", ");
  if (config.files.length === 0) {
    throw new WeftError("not-found", `there is no kubeconfig: ${paths.join(", ") || "HOME is not set"}`, {
      hint: "Set KUBECONFIG, or name the file.",
    });
  }
  const name = options.context ?? config.currentContext;
  if (name === undefined) {
    throw new WeftError("invalid", `${where}: current-context: Required value`, {
      object: where,
      hint: `Name one of its contexts: ${names(config.contexts)}.`,
    });
  }
  const context = entryOf(config, "contexts", name, where);
  const clusterName = context.field.at("cluster").requiredString();
  const userName = context.field.at("user").optionalString();
  const namespace = context.field.at("namespace").optionalString() || "default";
  context.file.check();
  const cluster = readCluster(
    clusterName ?? "",
    entryOf(config, "clusters", clusterName ?? "", where, context),
    options.clock,
  );
  // A context without a user is one without credentials: a proxy on this machine, for instance.
  const user = userName
    ? readUser(
        userName,
        entryOf(config, "users", userName, where, context),
        () => ({ server: cluster.server, ...cluster.trust() }),
        options.clock,
      )
    : anonymous(`context ${name} of ${context.file.path}`);
  return { ...cluster, ...user, namespace, source: `context ${name} of ${context.file.path}` };
}

function anonymous(source: string): Pick<Credentials, "identity" | "refused"> {
  return { identity: async () => ({ headers: [], certificate: undefined, source }), refused() {} };
}

const names = (entries: ReadonlyMap<string, Entry>): string =>
  [...entries.keys()].join(", ") || "there are none";

function entryOf(
  config: Kubeconfig,
  kind: "contexts" | "clusters" | "users",
  name: string,
  where: string,
  from?: Entry,
): Entry {
  const entry = config[kind].get(name);
  if (entry !== undefined) return entry;
  const asked = from === undefined ? "" : `, which ${from.file.path}: ${from.field.text} asks for`;
  throw new WeftError("not-found", `${where}: ${kind}: there is no "${name}"${asked}`, {
    object: where,
    hint: `These are there: ${names(config[kind])}.`,
  });
}

function readCluster(
  name: string,
  { field, file }: Entry,
  clock: Clock | undefined,
): Pick<Credentials, "server" | "trust"> {
  const server = readServer(field.at("server"));
  const proxy = field.at("proxy-url");
  if (proxy.present && proxy.value !== "") {
    proxy.fault("a proxy to the API server is not supported; give an address that can be reached directly");
  }
  const insecure = field.at("insecure-skip-tls-verify").boolean() ?? false;
  const serverName = field.at("tls-server-name").optionalString() || undefined;
  const ca = pemSource(field, "certificate-authority", file, parseCertificates, clock);
  if (insecure && ca !== undefined) {
    field.at("insecure-skip-tls-verify").invalid("must not be set together with certificate-authority");
  }
  if (server.startsWith("unix:")) refuseTls(field);
  file.check();
  return {
    server,
    trust: (): Trust => ({
      ca: ca?.read(),
      caSource: ca?.source ?? `cluster ${name} of ${file.path}, which names none: the system's are used`,
      serverName,
      insecure,
    }),
  };
}

/** On a socket there is no TLS, and nothing that says whom to trust has an effect. */
function refuseTls(cluster: Field): void {
  const fields = ["certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify"];
  for (const name of [...fields, "tls-server-name"]) {
    const field = cluster.at(name);
    if (field.present && field.value !== "" && field.value !== false) {
      field.fault("must not be set with the server on a unix socket, where there is no TLS");
    }
  }
}

function readServer(field: Field): string {
  const text = field.requiredString((value) => {
    const url = URL.canParse(value) ? new URL(value) : undefined;
    if (url?.protocol === "unix:") return socketFault(url);
    if (url === undefined || !/^https?:$/.test(url.protocol))
      return "must be a URL like https://10.0.0.1:6443 or unix:///var/lib/weft/server/server.sock";
    if (url.username !== "" || url.search !== "" || url.hash !== "")
      return "must have host, port and path only";
    return undefined;
  });
  return text === undefined ? "" : new URL(text).href.replace(/\/+$/, "");
}
