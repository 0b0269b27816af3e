/** Certificates of a server: whose authority it is, and what happens when they run out. OpenSSL makes and checks some. */
import { afterAll, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { createLogger, hintOf } from "@weft/base";
import { createClient, kubeconfigCredentials, watchResource } from "@weft/cluster/client";
import { DAY, endOf, loadCertificates } from "./certificates.ts";
import { type RunningServer, startServer } from "./index.ts";
import { removeDirectory, temporaryDirectory } from "./testing/process.ts";

const directory = temporaryDirectory();
afterAll(() => removeDirectory(directory));
let number = 0;
const fresh = (): string => join(directory, `pki-${++number}`);
const HOSTS = ["127.0.0.1", "::1", "localhost"];

function openssl(...words: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(["openssl", ...words], { stdin: "ignore" });
  if (exitCode !== 0) throw new Error(stderr.toString());
  return stdout.toString();
}

/** An authority that somebody brings. */
function bring(place: string, ...newkey: string[]): void {
  mkdirSync(place, { recursive: true });
  const out = ["-keyout", join(place, "ca.key"), "-out", join(place, "ca.crt")];
  openssl("req", "-x509", "-newkey", ...newkey, "-nodes", "-days", "900", "-subj", "/CN=theirs", ...out);
}

const verified = (place: string, name: string, purpose: string): string =>
  openssl("verify", "-purpose", purpose, "-CAfile", join(place, "ca.crt"), join(place, `${name}.crt`));

async function failure(promise: Promise<unknown>): Promise<{ message: string; hint: string }> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (!(error instanceof Error)) throw new Error("it did not fail");
  return { message: error.message, hint: hintOf(error) ?? "" };
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; !(await condition()); i++) {
    if (i > 2400) throw new Error("it did not come about");
    await Bun.sleep(25);
  }
}

const hasOpenssl = Bun.which("openssl") !== null;
if (!hasOpenssl) console.log("openssl is not there: its tests are skipped");

describe.skipIf(!hasOpenssl)("an authority that somebody brings", () => {
  test.each<[string, string[]]>([
    ["RSA", ["rsa:2048"]],
    ["P-256", ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]],
    ["P-384", ["ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"]],
    ["Ed25519", ["ed25519"]],
  ])("of %s signs, and OpenSSL agrees", async (_, newkey) => {
    const place = fresh();
    bring(place, ...newkey);
    const made = await loadCertificates(place, HOSTS, Date.now());
    expect(made.authority).toBe(readFileSync(join(place, "ca.crt"), "utf8"));
    expect(verified(place, "server", "sslserver")).toContain(": OK");
    expect(verified(place, "admin", "sslclient")).toContain(": OK");
  });

  test("with a key in its old form signs too, and one of no use here is named", async () => {
    const place = fresh();
    bring(place, "rsa:2048");
    const key = join(place, "ca.key");
    openssl("rsa", "-traditional", "-in", key, "-out", key);
    expect(readFileSync(key, "utf8")).toContain("BEGIN RSA PRIVATE KEY");
    await loadCertificates(place, HOSTS, Date.now());
    const other = fresh();
    bring(other, "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1");
    expect((await failure(loadCertificates(other, HOSTS, Date.now()))).hint).toContain("Use RSA");
  });

  test("without its key is enough for as long as its certificates are good, and is never replaced", async () => {
    const place = fresh();
    const first = await loadCertificates(place, HOSTS, Date.now());
    renameSync(join(place, "ca.key"), join(directory, "safe"));
    expect(await loadCertificates(place, HOSTS, Date.now())).toEqual(first);
    // A month before the end nothing else can be done, and it still serves.
    expect(await loadCertificates(place, HOSTS, Date.now() + 350 * DAY)).toEqual(first);
    for (const [hosts, days, why] of [
      [[...HOSTS, "api.example.org"], 0, "it is not for api.example.org"],
      [HOSTS, 366, "it runs out"],
    ] as const) {
      const { message, hint } = await failure(loadCertificates(place, hosts, Date.now() + days * DAY));
      expect(message).toContain(
        `a new server.crt is needed (${why}), and ca.key, which signs it, is missing`,
      );
      expect(hint).toStartWith("Put ca.key back; or put server.crt and server.key there");
    }
    expect(readFileSync(join(place, "ca.crt"), "utf8")).toBe(first.authority);
  });

  test("whose certificate is missing, wrong or of another key is refused, and left as it is", async () => {
    const place = fresh();
    await loadCertificates(place, HOSTS, Date.now());
    const key = readFileSync(join(place, "ca.key"), "utf8");
    rmSync(join(place, "ca.crt"));
    expect((await failure(loadCertificates(place, HOSTS, Date.now()))).message).toContain(
      "ca.crt is missing",
    );
    expect(readFileSync(join(place, "ca.key"), "utf8")).toBe(key);
    await Bun.write(join(place, "ca.crt"), readFileSync(join(place, "server.crt")));
    expect((await failure(loadCertificates(place, HOSTS, Date.now()))).message).toContain(
      "not that of an authority",
    );
    const other = fresh();
    bring(other, "ed25519");
    await Bun.write(join(place, "ca.crt"), readFileSync(join(other, "ca.crt")));
    expect((await failure(loadCertificates(place, HOSTS, Date.now()))).message).toContain(
      "is not the key of",
    );
    await Bun.write(join(place, "ca.key"), "nonsense");
    expect((await failure(loadCertificates(place, HOSTS, Date.now()))).message).toContain(
      "is no private key",
    );
  });

  test("of which a first start that was killed left the key only is begun anew", async () => {
    const place = fresh();
    await loadCertificates(place, HOSTS, Date.now());
    for (const name of ["ca.crt", "server.crt", "server.key", "admin.crt", "admin.key"])
      rmSync(join(place, name));
    await loadCertificates(place, HOSTS, Date.now());
    expect(existsSync(join(place, "ca.crt"))).toBe(true);
  });

  test("that ends soon ends what it signs, which is not made again for that", async () => {
    const place = fresh();
    const now = Date.now();
    await loadCertificates(place, HOSTS, now);
    const late = now + 3640 * DAY;
    const { authority, server } = await loadCertificates(place, HOSTS, late);
    expect(endOf(server.cert)).toBe(endOf(authority));
    expect((await loadCertificates(place, HOSTS, late + DAY)).server).toEqual(server);
  });
});

describe("a server that runs", () => {
  const logged: string[] = [];
  let now = Date.now();
  const start = (data: string): Promise<RunningServer> =>
    startServer({
      data,
      address: "127.0.0.1",
      port: 0,
      names: [],
      socket: undefined,
      tokens: undefined,
      kubeconfig: undefined,
      services: { ranges: ["10.96.0.0/16"], nodePorts: [30000, 32767] },
      logger: createLogger((line) => logged.push(line)),
      renewal: { every: 100, now: () => now },
    });

  /** The serial of the certificate that a new connection is shown. */
  const shown = (url: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const { hostname: host, port } = new URL(url);
      const socket: TLSSocket = connect({ host, port: Number(port), rejectUnauthorized: false }, () => {
        resolve(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      });
      socket.on("error", reject);
    });

  test("has new ones before the old ones end, without a restart, and watches go on", async () => {
    // Long ago by its clock; by ours there are some days left.
    now = Date.now() - 340 * DAY;
    const data = join(directory, "data");
    const server = await start(data);
    const client = createClient({ credentials: kubeconfigCredentials({ path: server.kubeconfig }) });
    const rows = new Set<string>();
    const watch = watchResource({
      client,
      path: "/api/v1/namespaces",
      decode: ({ metadata }) => metadata.name,
      onChange: ({ changes }) => {
        for (const { key } of changes) rows.add(key);
      },
    });
    await watch.ready;
    await until(() => watch.status().state === "watching");
    const first = await shown(server.url);
    const kubeconfig = readFileSync(server.kubeconfig, "utf8");
    expect(logged.join("\n")).not.toContain("runs out");

    now = Date.now();
    await until(async () => (await shown(server.url).catch(() => first)) !== first);
    expect(readFileSync(server.kubeconfig, "utf8")).not.toBe(kubeconfig);
    const { watches } = watch.status();
    await fetch("http://server/api/v1/namespaces", {
      method: "POST",
      unix: server.socket,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ apiVersion: "v1", kind: "Namespace", metadata: { name: "afterwards" } }),
    });
    await until(() => rows.has("afterwards"));
    expect(watch.status()).toMatchObject({ watches, awaySince: undefined });
    await watch.stop();
    // Requests of who began before go on, and so do those of who begins now.
    await client.request({ path: "/api/v1/nodes" });
    client.close();
    const later = createClient({ credentials: kubeconfigCredentials({ path: server.kubeconfig }) });
    await later.request({ path: "/api/v1/nodes" });
    later.close();
    await server.stop();
    expect(new X509Certificate(readFileSync(join(data, "pki/server.crt"))).serialNumber).not.toBe(first);
  });

  test("tells until when they are good, and of an authority that ends", async () => {
    now = Date.now();
    const data = join(directory, "data-2");
    const server = await start(data);
    const ready = async (): Promise<string> => {
      const response = await fetch("http://server/readyz?verbose", { unix: server.socket });
      return `${response.status} ${await response.text()}`;
    };
    expect(await ready()).toMatch(
      /^200 \[\+\]storage ok\n\[\+\]authority ok: valid until \d{4}-\d\d-\d\d\n\[\+\]certificate ok: valid until .*\nreadyz check passed\n$/,
    );
    renameSync(join(data, "pki/ca.key"), join(directory, "kept"));
    now += 366 * DAY;
    await until(async () => /ca\.key, which signs it, is missing/.test(await ready()));
    expect(logged.filter((line) => line.includes("cannot be renewed"))).toHaveLength(1);
    expect(logged.join("\n")).toContain("Put ca.key back");
    renameSync(join(directory, "kept"), join(data, "pki/ca.key"));
    await until(async () => (await ready()).startsWith("200"));
    now += 3300 * DAY;
    expect(await ready()).toContain("500 [+]storage ok\n[-]authority failed: it ran out on ");
    await server.stop();

    logged.splice(0);
    now = Date.now() + 3500 * DAY;
    await (await start(data)).stop();
    expect(logged.join("\n")).not.toContain("runs out");
    now = Date.now() + 3600 * DAY;
    await (await start(data)).stop();
    expect(logged.filter((line) => line.includes("the authority runs out soon"))).toHaveLength(1);
  });
});
