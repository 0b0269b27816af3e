/** Certificates for tests, made by the openssl of this machine in a directory of their own. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const hasOpenssl = Bun.which("openssl") !== null;

export interface Pair {
  readonly cert: string;
  readonly key: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export interface Certificates {
  readonly directory: string;
  readonly ca: Pair;
  readonly otherCa: Pair;
  /** For 127.0.0.1, ::1 and localhost. */
  readonly server: Pair;
  /** For api.example.com. */
  readonly misnamed: Pair;
  readonly expiredServer: Pair;
  /** From 2090 on. */
  readonly futureServer: Pair;
  readonly client: Pair;
  readonly expiredClient: Pair;
  /** From 2090 on. */
  readonly futureClient: Pair;
  remove(): void;
}

const CA_CONFIG = `
[ca]
default_ca = x
[x]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = p
unique_subject = no
[p]
commonName = supplied
`;

const HERE = "subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost";
const NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

export function makeCertificates(): Certificates {
  const directory = mkdtempSync(join(tmpdir(), "weft-certificates-"));
  const openssl = (...args: string[]): void => {
    const { exitCode, stderr } = Bun.spawnSync(["openssl", ...args], { cwd: directory });
    if (exitCode !== 0) throw new Error(`openssl ${args.join(" ")}: ${stderr.toString()}`);
  };
  const pair = (name: string): Pair => {
    const [certFile, keyFile] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)];
    return { certFile, keyFile, cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
  };
  const authority = (name: string): Pair => {
    const out = ["-keyout", `${name}.key`, "-out", `${name}.crt`];
    openssl("req", "-x509", ...NEW_KEY, ...out, "-days", "2", "-subj", `/CN=${name}`);
    return pair(name);
  };
  const leaf = (name: string, extension: string, dates: readonly string[] = []): Pair => {
    openssl("req", ...NEW_KEY, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
    writeFileSync(join(directory, `${name}.ext`), `${extension}\n`);
    const span = dates.length === 0 ? ["-days", "2"] : dates;
    const files = ["-in", `${name}.csr`, "-out", `${name}.crt`, "-extfile", `${name}.ext`];
    const signer = ["-config", "ca.cnf", "-cert", "ca.crt", "-keyfile", "ca.key"];
    openssl("ca", "-batch", "-notext", ...signer, ...files, ...span);
    return pair(name);
  };
  writeFileSync(join(directory, "ca.cnf"), CA_CONFIG);
  writeFileSync(join(directory, "index.txt"), "");
  writeFileSync(join(directory, "serial"), "01\n");
  const past = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"];
  const future = ["-startdate", "20900101000000Z", "-enddate", "20910101000000Z"];
  return {
    directory,
    ca: authority("ca"),
    otherCa: authority("other-ca"),
    server: leaf("server", HERE),
    misnamed: leaf("misnamed", "subjectAltName=DNS:api.example.com"),
    expiredServer: leaf("expired-server", HERE, past),
    futureServer: leaf("future-server", HERE, future),
    client: leaf("client", "extendedKeyUsage=clientAuth"),
    expiredClient: leaf("expired-client", "extendedKeyUsage=clientAuth", past),
    futureClient: leaf("future-client", "extendedKeyUsage=clientAuth", future),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
