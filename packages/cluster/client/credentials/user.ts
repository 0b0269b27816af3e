/** A user of a kubeconfig into what requests show of it. */
import type { Clock } from "@weft/base";
import type { Field } from "../../field.ts";
import { pairOf, parseCertificates, parseKey } from "./certificate.ts";
import { type ClusterInfo, EXEC_VERSIONS, type ExecConfig, ExecPlugin } from "./exec-plugin.ts";
import type { Entry, KubeconfigFile } from "./kubeconfig-file.ts";
import { parseToken, RotatingFile } from "./rotating-file.ts";
import type { ClientCertificate, Credentials, Identity } from "./types.ts";

type Header = readonly [name: string, value: string];

const INTERACTIVE = ["Never", "IfAvailable", "Always"];

/** Throws "invalid" naming file and field. */
export function readUser(
  name: string,
  { field, file }: Entry,
  cluster: () => ClusterInfo,
  clock: Clock | undefined,
): Pick<Credentials, "identity" | "refused"> {
  const source = `user ${name} of ${file.path}`;
  if (field.at("auth-provider").present) {
    field.at("auth-provider").fault("auth-provider is no longer supported; use an exec credential plugin");
  }
  const fixed = [...basic(field), ...impersonation(field)];
  const token = bearer(field, file, clock);
  const certificate = clientCertificate(field, file, source, clock);
  const exec = field.at("exec").present ? readExec(field.at("exec"), file) : undefined;
  const ways = [
    fixed.some(([header]) => header === "Authorization"),
    token !== undefined,
    exec !== undefined,
  ];
  if (ways.filter(Boolean).length > 1) {
    field.fault("has more than one of token, username and exec; keep one");
  }
  file.check();
  const plugin = exec === undefined ? undefined : new ExecPlugin(exec, cluster, clock);
  return {
    async identity(): Promise<Identity> {
      const answer = await plugin?.answer();
      const text = answer?.token ?? token?.read();
      return {
        headers: text === undefined ? fixed : [["Authorization", `Bearer ${text}`], ...fixed],
        certificate: answer?.certificate ?? certificate?.read(),
        source: plugin?.source ?? source,
      };
    },
    refused() {
      plugin?.forget();
      token?.forget();
      certificate?.forget();
    },
  };
}

interface Source<T> {
  read(): T;
  forget(): void;
}

const constant = <T>(value: T): Source<T> => ({ read: () => value, forget() {} });

function basic(user: Field): Header[] {
  const name = user.at("username").optionalString();
  const password = user.at("password").optionalString() ?? "";
  if (!name) return [];
  return [["Authorization", `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}`]];
}

/** "as" and its companions (Kubernetes documentation, "User impersonation"). */
function impersonation(user: Field): Header[] {
  const headers: Header[] = [];
  const add = (header: string, field: Field): void => {
    const value = field.optionalString((text) =>
      /^[\x20-\x7e]*$/.test(text) ? undefined : "must be plain ASCII",
    );
    if (value) headers.push([header, value]);
  };
  add("Impersonate-User", user.at("as"));
  add("Impersonate-Uid", user.at("as-uid"));
  for (const group of user.at("as-groups").items()) add("Impersonate-Group", group);
  const extra = user.at("as-user-extra");
  for (const key of extra.keys()) {
    for (const value of extra.at(key).items()) add(`Impersonate-Extra-${encodeURIComponent(key)}`, value);
  }
  if (headers.length > 0 && headers[0]?.[0] !== "Impersonate-User") {
    user.at("as").required("the other fields of impersonation need it");
  }
  return headers;
}

/** tokenFile comes before token, as in client-go. */
function bearer(user: Field, file: KubeconfigFile, clock: Clock | undefined): Source<string> | undefined {
  const path = user.at("tokenFile").optionalString();
  if (path) {
    const what = `${file.path}: ${user.at("tokenFile").text}`;
    const full = file.resolve(path);
    const rotating = new RotatingFile(full, what, (text) => parseToken(text, `${what} ${full}`), clock);
    rotating.read();
    return rotating;
  }
  const token = user.at("token").optionalString();
  return token ? constant(parseToken(token, `${file.path}: ${user.at("token").text}`)) : undefined;
}

/** Data comes before the file, as in client-go. Certificate and key may lie in one file. */
function clientCertificate(
  user: Field,
  file: KubeconfigFile,
  source: string,
  clock: Clock | undefined,
): Source<ClientCertificate> | undefined {
  const cert = pemSource(user, "client-certificate", file, parseCertificates, clock);
  const key = pemSource(user, "client-key", file, parseKey, clock);
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) {
    user
      .at(cert === undefined ? "client-certificate" : "client-key")
      .required("certificate and key go together");
    return undefined;
  }
  let pair = pairOf(cert.read(), key.read(), source);
  return {
    read() {
      const next = [cert.read(), key.read()] as const;
      // While only one of two files is renewed, the former pair goes on.
      if (next[0] !== pair.cert || next[1] !== pair.key) pair = attemptPair(next, source) ?? pair;
      return pair;
    },
    forget() {
      cert.forget();
      key.forget();
    },
  };
}

function attemptPair([cert, key]: readonly [string, string], source: string): ClientCertificate | undefined {
  try {
    return pairOf(cert, key, source);
  } catch {
    return undefined;
  }
}

/** A PEM text out of `<name>-data`, in base64, or the file of `<name>`; undefined when there is neither. */
export function pemSource(
  entry: Field,
  name: string,
  file: KubeconfigFile,
  parse: (text: string, source: string) => string,
  clock: Clock | undefined,
): (Source<string> & { readonly source: string }) | undefined {
  const data = entry.at(`${name}-data`);
  const encoded = data.optionalString((text) =>
    /^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(text) || text === "" ? undefined : "must be base64",
  );
  if (encoded) {
    const source = `${file.path}: ${data.text}`;
    return { ...constant(parse(Buffer.from(encoded, "base64").toString("utf8"), source)), source };
  }
  const path = entry.at(name).optionalString();
  if (!path) return undefined;
  const full = file.resolve(path);
  const what = `${file.path}: ${entry.at(name).text}`;
  const rotating = new RotatingFile(full, what, (text) => parse(text, `${what} ${full}`), clock);
  rotating.read();
  return rotating;
}

function readExec(exec: Field, file: KubeconfigFile): ExecConfig {
  const apiVersion = exec
    .at("apiVersion")
    .requiredString((text) =>
      EXEC_VERSIONS.includes(text) ? undefined : `must be one of ${EXEC_VERSIONS.join(", ")}`,
    );
  const mode = exec.at("interactiveMode");
  if (apiVersion === EXEC_VERSIONS[0]) mode.requiredString();
  mode.optionalString((text) =>
    INTERACTIVE.includes(text) ? undefined : `must be one of ${INTERACTIVE.join(", ")}`,
  );
  if (mode.value === "Always") {
    mode.invalid(
      "the plugin wants to ask somebody at a terminal, and here is none; use a service account's token",
    );
  }
  return {
    apiVersion: apiVersion ?? "",
    command: exec.at("command").requiredString() ?? "",
    args: exec
      .at("args")
      .items()
      .map((arg) => arg.string() ?? ""),
    env: exec
      .at("env")
      .items()
      .map((item) => ({
        name: item.at("name").requiredString() ?? "",
        value: item.at("value").string() ?? "",
      })),
    installHint: exec.at("installHint").optionalString(),
    provideClusterInfo: exec.at("provideClusterInfo").boolean() ?? false,
    directory: file.resolve("."),
    source: `${file.path}: ${exec.text}`,
  };
}
