import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FakeClock, hasCode, hintOf } from "@weft/base";
import { stringify } from "yaml";
import { type Certificates, hasOpenssl, makeCertificates } from "../testing/certificates.ts";
import { rejection } from "../testing/setup.ts";
import { inClusterCredentials, kubeconfigCredentials, loadCredentials } from "./index.ts";

const root = mkdtempSync(join(tmpdir(), "weft-credentials-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let number = 0;

/** Writes a file in a new directory, or the named one. */
function file(name: string, text: string, directory = join(root, String(++number))): string {
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, name), text);
  return join(directory, name);
}

const entries = (kind: string, named: object) =>
  Object.entries(named).map(([name, value]) => ({ name, [kind]: value }));

/** A kubeconfig with the contexts given as [cluster, user]. */
function config(
  parts: { clusters?: object; users?: object; contexts?: object; current?: string },
  directory?: string,
): string {
  const { clusters = { c: { server: "https://10.0.0.1:6443/" } }, users = {}, current = "x" } = parts;
  const { contexts = { x: { cluster: "c", user: "u" } } } = parts;
  const object = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": current,
    clusters: entries("cluster", clusters),
    users: entries("user", users),
    contexts: entries("context", contexts),
  };
  return file("config", stringify(object), directory);
}

const load = (user: object, cluster: object = {}) =>
  kubeconfigCredentials({
    path: config({ clusters: { c: { server: "https://10.0.0.1:6443/", ...cluster } }, users: { u: user } }),
  });
const headers = async (user: object) => (await load(user).identity()).headers;

function message(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(hintOf(error)).toBeString();
    return (error as Error).message;
  }
  throw new Error("it did not throw");
}

describe("kubeconfig", () => {
  test("server, namespace, token, username, impersonation", async () => {
    const credentials = load({ token: "abc" });
    expect([credentials.server, credentials.namespace]).toEqual(["https://10.0.0.1:6443", "default"]);
    expect(credentials.source).toStartWith("context x of ");
    expect(await headers({ token: "abc" })).toEqual([["Authorization", "Bearer abc"]]);
    expect(await headers({ username: "a", password: "ö" })).toEqual([["Authorization", "Basic YTrDtg=="]]);
    expect(
      await headers({ token: "t", as: "bob", "as-groups": ["g", "h"], "as-user-extra": { "a/b": ["c"] } }),
    ).toEqual([
      ["Authorization", "Bearer t"],
      ["Impersonate-User", "bob"],
      ["Impersonate-Group", "g"],
      ["Impersonate-Group", "h"],
      ["Impersonate-Extra-a%2Fb", "c"],
    ]);
    const path = config({ contexts: { x: { cluster: "c", namespace: "kube-system" } } });
    expect(kubeconfigCredentials({ path }).namespace).toBe("kube-system");
  });

  test("a list: the first entry of a name counts, the first current-context, absent files do not matter", async () => {
    const a = config({
      clusters: { c: { server: "https://[fd00::1]:6443" } },
      users: { u: { token: "first" } },
      current: "y",
    });
    const b = config({
      clusters: { c: { server: "https://10.9.9.9" }, d: { server: "https://10.0.0.2" } },
      users: { u: { token: "second" } },
      contexts: { x: { cluster: "d", user: "u" }, y: { cluster: "c", user: "u" } },
    });
    const environment = { KUBECONFIG: `${a}::/no/such:${b}` };
    const chosen = kubeconfigCredentials({ environment });
    expect(chosen.server).toBe("https://[fd00::1]:6443");
    expect((await chosen.identity()).headers[0]?.[1]).toBe("Bearer first");
    expect(kubeconfigCredentials({ environment, context: "x" }).server).toBe("https://[fd00::1]:6443");
    expect(message(() => kubeconfigCredentials({ environment: { KUBECONFIG: "/no/such" } }))).toContain(
      "/no/such",
    );
    expect(message(() => kubeconfigCredentials({ path: "/no/such" }))).toContain("/no/such cannot be read");
    const home = join(root, "home");
    config(
      { clusters: { c: { server: "http://localhost:8001" } }, contexts: { x: { cluster: "c" } } },
      join(home, ".kube"),
    );
    expect(loadCredentials({ environment: { HOME: home } }).server).toBe("http://localhost:8001");
  });

  test("each fault names file, line and field", () => {
    const fault = (user: object, cluster: object = {}) =>
      message(() => load(user, cluster)).replace(/^\S*:(\d+): /, "");
    expect(fault({ token: 7 })).toBe('users[0].user.token: Invalid value: 7: must be a string; write "7"');
    expect(fault({ token: "a b" })).toContain("config: users[0].user.token: the token has characters");
    expect(fault({ token: "t", username: "u" })).toContain(
      "users[0].user: has more than one of token, username and exec",
    );
    expect(fault({ "auth-provider": { name: "gcp" } })).toContain(
      "users[0].user[auth-provider]: auth-provider is no longer",
    );
    expect(fault({ "as-groups": ["g"] })).toContain("users[0].user.as: Required value");
    expect(fault({ "client-key": "/no/key" })).toContain("/no/key cannot be read");
    expect(fault({ tokenFile: "none" })).toMatch(
      /config: users\[0\].user.tokenFile \/\S+\/none cannot be read/,
    );
    expect(fault({}, { server: "10.0.0.1:6443" })).toContain("clusters[0].cluster.server: Invalid value");
    expect(fault({}, { server: "" })).toBe("clusters[0].cluster.server: Required value");
    expect(fault({}, { "proxy-url": "http://proxy:3128" })).toContain(
      "clusters[0].cluster[proxy-url]: a proxy to the API",
    );
    expect(fault({}, { "certificate-authority-data": "!" })).toContain(
      "[certificate-authority-data]: Invalid value",
    );
    expect(fault({}, { "certificate-authority-data": btoa("no pem") })).toContain(
      "clusters[0].cluster[certificate-authority-data]: has no certificate in PEM",
    );
    expect(fault({}, { "certificate-authority": "ca.crt" })).toMatch(
      /\[certificate-authority\] \/\S+\/ca.crt cannot be read/,
    );
  });

  test("what it asks for and is not there is named, with what is", () => {
    const failed = (path: string, context?: string): unknown => {
      try {
        return kubeconfigCredentials(context === undefined ? { path } : { path, context });
      } catch (error) {
        return error;
      }
    };
    const path = config({});
    const error = failed(path);
    expect(String(error)).toContain(`users: there is no "u", which ${path}: contexts[0].context asks for`);
    expect(hasCode(failed(path, "zz"), "not-found")).toBe(true);
    expect(hintOf(failed(path, "zz"))).toBe("These are there: x.");
    expect(String(failed(config({ current: "" })))).toContain("current-context: Required value");
    expect(String(failed(file("broken", "a: [")))).toMatch(/broken:\d+: /);
    expect(String(failed(file("list", "- a")))).toContain("must be a mapping");
  });

  test("a broken entry that is not asked for does not matter", () => {
    const path = config({ users: { u: { token: "t" }, other: { token: 7, exec: 9 } } });
    expect(kubeconfigCredentials({ path }).server).toBe("https://10.0.0.1:6443");
  });
});

describe("files that are renewed", () => {
  test("a token file is read again when it changed; one that vanished stays in force", async () => {
    const path = file("token", "one\n");
    const credentials = load({ tokenFile: path, token: "never" });
    const token = async () => (await credentials.identity()).headers[0]?.[1];
    expect(await token()).toBe("Bearer one");
    writeFileSync(path, "second\n");
    expect(await token()).toBe("Bearer second");
    writeFileSync(path, "");
    expect(await token()).toBe("Bearer second");
    rmSync(path);
    expect(await token()).toBe("Bearer second");
  });

  test("a service account's, in a directory and at an IPv6 address", async () => {
    const directory = join(root, "account");
    const environment = { KUBERNETES_SERVICE_HOST: "fd00:10:96::1", KUBERNETES_SERVICE_PORT: "443" };
    const inside = () => inClusterCredentials({ directory, environment, clock: new FakeClock() });
    expect(message(inside)).toContain(`service account file ${directory}/token cannot be read`);
    file("token", "abc", directory);
    expect(message(inside)).toContain(`${directory}/ca.crt cannot be read`);
    file("ca.crt", "nothing", directory);
    expect(message(inside)).toContain(`${directory}/ca.crt: has no certificate in PEM`);
    if (hasOpenssl) {
      file("ca.crt", made.ca.cert, directory);
      file("namespace", "weft-system\n", directory);
      const credentials = inside();
      expect([credentials.server, credentials.namespace]).toEqual([
        "https://[fd00:10:96::1]:443",
        "weft-system",
      ]);
      expect(credentials.trust()).toMatchObject({
        ca: made.ca.cert,
        caSource: `${directory}/ca.crt`,
        insecure: false,
      });
      file("token", "renewed", directory);
      expect((await credentials.identity()).headers).toEqual([["Authorization", "Bearer renewed"]]);
    }
    expect(message(() => inClusterCredentials({ directory, environment: {} }))).toContain(
      "KUBERNETES_SERVICE_HOST",
    );
    const odd = { KUBERNETES_SERVICE_HOST: "10.0.0.1", KUBERNETES_SERVICE_PORT: "tcp://10.0.0.1:443" };
    file("token", "abc", directory);
    expect(message(() => inClusterCredentials({ directory, environment: odd }))).toContain(
      "tcp://10.0.0.1:443",
    );
  });
});

let made: Certificates;
beforeAll(() => {
  if (hasOpenssl) made = makeCertificates();
});
afterAll(() => made?.remove());

describe.skipIf(!hasOpenssl)("certificates", () => {
  const base64 = (text: string): string => Buffer.from(text).toString("base64");

  test("files and data, data first; relative paths are the kubeconfig's", async () => {
    const { client, ca, otherCa } = made;
    const identity = await load({
      "client-certificate": client.certFile,
      "client-key": client.keyFile,
    }).identity();
    expect(identity.certificate).toMatchObject({ cert: client.cert, key: client.key });
    const data = { "client-certificate-data": base64(client.cert), "client-key-data": base64(client.key) };
    expect((await load({ ...data, "client-key": "/none" }).identity()).certificate?.key).toBe(client.key);
    const both = { "certificate-authority": otherCa.certFile, "certificate-authority-data": base64(ca.cert) };
    expect(load({}, both).trust()).toMatchObject({ ca: ca.cert, insecure: false });
    const path = config(
      {
        clusters: { c: { server: "https://a", "certificate-authority": "ca.crt", "tls-server-name": "b" } },
        contexts: { x: { cluster: "c" } },
      },
      made.directory,
    );
    expect(kubeconfigCredentials({ path }).trust()).toMatchObject({
      ca: ca.cert,
      serverName: "b",
      caSource: expect.stringContaining("clusters[0].cluster[certificate-authority]"),
    });
    expect(load({}, { "insecure-skip-tls-verify": true }).trust().insecure).toBe(true);
    expect(message(() => load({}, { "insecure-skip-tls-verify": true, ...both }))).toContain(
      "must not be set together",
    );
  });

  test("a certificate without its key, another's key, an encrypted one", () => {
    const cert = { "client-certificate": made.client.certFile };
    expect(message(() => load(cert))).toContain("users[0].user[client-key]: Required value");
    expect(message(() => load({ ...cert, "client-key": made.server.keyFile }))).toContain(
      "do not belong together",
    );
    expect(message(() => load({ ...cert, "client-key": made.client.certFile }))).toContain(
      "has no private key",
    );
    const locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    expect(message(() => load({ ...cert, "client-key": file("locked", locked) }))).toContain("is encrypted");
  });

  test("a kubelet's certificate and key in one file, renewed", async () => {
    const { client, expiredClient } = made;
    const path = file("current.pem", expiredClient.cert + expiredClient.key);
    const credentials = load({ "client-certificate": path, "client-key": path });
    expect((await credentials.identity()).certificate?.cert).toBe(expiredClient.cert);
    writeFileSync(path, `${client.cert}${client.key}`);
    expect((await credentials.identity()).certificate).toMatchObject({ cert: client.cert, key: client.key });
  });
});

describe("exec plugins", () => {
  const V1 = "client.authentication.k8s.io/v1";
  const script = (text: string, directory?: string): string => {
    const path = file("plugin", `#!/bin/sh\n${text}\n`, directory);
    chmodSync(path, 0o755);
    return path;
  };
  const exec = (command: string, more: object = {}) => ({
    exec: { apiVersion: V1, command, interactiveMode: "Never", ...more },
  });
  const answer = (status: object, apiVersion = V1) =>
    `echo '${JSON.stringify({ apiVersion, kind: "ExecCredential", status })}'`;
  const failing = async (user: object) => (await rejection(load(user).identity())).message;

  test("its token is used until it expires or is refused; it knows the cluster if it asks", async () => {
    const log = join(root, "log");
    const path = script(
      `echo "$KUBERNETES_EXEC_INFO $1 $EXTRA" >> ${log}\n${answer({ token: "tok", expirationTimestamp: "2023-11-14T22:20:00Z" })}`,
    );
    const clock = new FakeClock(Date.parse("2023-11-14T22:13:20Z"));
    const user = exec(path, {
      args: ["get"],
      env: [{ name: "EXTRA", value: "extra" }],
      provideClusterInfo: true,
    });
    const credentials = kubeconfigCredentials({ path: config({ users: { u: user } }), clock });
    const runs = async () => (await Bun.file(log).text()).trim().split("\n").length;
    const both = await Promise.all([credentials.identity(), credentials.identity()]);
    expect(both[0]?.headers).toEqual([["Authorization", "Bearer tok"]]);
    expect(await runs()).toBe(1);
    const said = await Bun.file(log).text();
    expect(said).toContain(" get extra");
    expect(JSON.parse(said.slice(0, said.indexOf(" get")))).toEqual({
      apiVersion: V1,
      kind: "ExecCredential",
      spec: { interactive: false, cluster: { server: "https://10.0.0.1:6443", config: null } },
    });
    await credentials.identity();
    expect(await runs()).toBe(1);
    credentials.refused();
    await credentials.identity();
    expect(await runs()).toBe(2);
    clock.advance(6 * 60_000 + 45_000);
    await credentials.identity();
    expect(await runs()).toBe(3);
  });

  test("one that takes too long is given up, also when what it has started holds its output", async () => {
    const pid = join(root, "pid");
    const user = exec(script(`sleep 100 & echo $! > ${pid}.new; mv ${pid}.new ${pid}`));
    const clock = new FakeClock();
    const credentials = kubeconfigCredentials({ path: config({ users: { u: user } }), clock });
    const refused = rejection(credentials.identity());
    while (!existsSync(pid)) await Bun.sleep(5);
    try {
      clock.advance(60_000);
      expect((await refused).message).toContain("took longer than 60 s");
    } finally {
      process.kill(Number(readFileSync(pid, "utf8")), "SIGKILL");
    }
  });

  test("v1beta1, relative to the kubeconfig, with a certificate", async () => {
    const beta = "client.authentication.k8s.io/v1beta1";
    const directory = join(root, "relative");
    const status = hasOpenssl
      ? { clientCertificateData: made.client.cert, clientKeyData: made.client.key }
      : { token: "t" };
    script(answer(status, beta).replaceAll("\\n", "\\\\n"), directory);
    const user = { exec: { apiVersion: beta, command: "./plugin" } };
    const identity = await kubeconfigCredentials({
      path: config({ users: { u: user } }, directory),
    }).identity();
    if (hasOpenssl) expect(identity.certificate?.cert).toBe(made.client.cert);
  });

  test("what goes wrong names the plugin and says what", async () => {
    expect(await failing(exec("no-such-plugin-here"))).toContain(
      "users[0].user.exec: no-such-plugin-here is not installed",
    );
    const absent = await rejection(
      load(exec("no-such-plugin-here", { installHint: "apt install it" })).identity(),
    );
    expect(hintOf(absent)).toBe("apt install it");
    expect(await failing(exec(script("echo trouble >&2; exit 3")))).toContain(
      "failed with status 3: trouble",
    );
    expect(await failing(exec(script("echo no json")))).toContain("is no JSON");
    expect(await failing(exec(script(answer({}))))).toContain("neither a token nor clientCertificateData");
    expect(await failing(exec(script(answer({ token: 5 }))))).toContain("status.token must be a string");
    expect(await failing(exec(script(answer({ clientKeyData: "k" }))))).toContain("or neither");
    expect(await failing(exec(script(answer({ token: "t" }, "v9"))))).toContain('apiVersion is "v9"');
    expect(await failing(exec(script(answer({ token: "t", expirationTimestamp: "soon" }))))).toContain(
      "is no time",
    );
    expect(message(() => load(exec("x", { interactiveMode: "Always" })))).toContain(
      "ask somebody at a terminal",
    );
    expect(message(() => load(exec("x", { interactiveMode: "" })))).toContain(
      "interactiveMode: Required value",
    );
    expect(message(() => load(exec("x", { apiVersion: "client.authentication.k8s.io/v1alpha1" })))).toContain(
      "must be one of client.authentication.k8s.io/v1,",
    );
  });
});
