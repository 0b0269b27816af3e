/**
 * The certificates of a server that nobody gave any: an authority of its own, made at the first start and kept; the
 * server's, for every name and address it listens on; and one for the administrator's kubeconfig. What is about to run
 * out, or lacks a name, is made again at a start.
 */
// The X.509 library needs it, and before itself.
import "reflect-metadata";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  BasicConstraintsExtension,
  X509Certificate as Certificate,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { describeError, isIp, WeftError } from "@weft/base";

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

export interface Certificates {
  readonly authority: string;
  readonly server: Pair;
  readonly admin: Pair;
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const DAY = 86_400_000;
const AUTHORITY_DAYS = 3650;
const LEAF_DAYS = 365;
/** A certificate with less than this left is made again. */
const LEAST_LEFT = 30 * DAY;

/** Those of a directory, made as far as they are missing. `hosts` are names and addresses of the server. */
export async function loadCertificates(
  directory: string,
  hosts: readonly string[],
  now: number,
): Promise<Certificates> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const authority = await authorityOf(directory, now);
  const server = await leafOf(directory, "server", authority, now, hosts, () =>
    extensions(ExtendedKeyUsage.serverAuth, hosts),
  );
  const admin = await leafOf(directory, "admin", authority, now, [], () =>
    extensions(ExtendedKeyUsage.clientAuth, []),
  );
  return { authority: authority.cert, server, admin };
}

async function authorityOf(directory: string, now: number): Promise<Pair> {
  const held = read(directory, "ca");
  if (held !== undefined) return held;
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: "CN=weft",
    ...span(now, AUTHORITY_DAYS),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  return write(directory, "ca", certificate, keys.privateKey);
}

const extensions = (usage: ExtendedKeyUsage, hosts: readonly string[]): Extension[] => [
  new BasicConstraintsExtension(false, undefined, true),
  new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
  new ExtendedKeyUsageExtension([usage]),
  ...(hosts.length === 0
    ? []
    : [
        new SubjectAlternativeNameExtension(
          hosts.map((host) => ({ type: isIp(host) ? ("ip" as const) : ("dns" as const), value: host })),
        ),
      ]),
];

async function leafOf(
  directory: string,
  name: string,
  authority: Pair,
  now: number,
  hosts: readonly string[],
  extensionsOf: () => Extension[],
): Promise<Pair> {
  const held = read(directory, name);
  if (held !== undefined && isPair(held) && serves(held.cert, authority.cert, hosts, now)) return held;
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const [der] = PemConverter.decode(authority.key);
  const signingKey = await crypto.subtle.importKey("pkcs8", der as ArrayBuffer, ALGORITHM, false, ["sign"]);
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: name === "admin" ? "CN=weft-admin,O=system:masters" : "CN=weft-server",
    issuer: new Certificate(authority.cert).subject,
    ...span(now, LEAF_DAYS),
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: ALGORITHM,
    extensions: extensionsOf(),
  });
  return write(directory, name, certificate, keys.privateKey);
}

/** A server that was killed while it made them anew leaves the new key beside the old certificate. */
function isPair({ cert, key }: Pair): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

function serves(cert: string, authority: string, hosts: readonly string[], now: number): boolean {
  const certificate = new X509Certificate(cert);
  const { publicKey } = new X509Certificate(authority);
  if (!certificate.verify(publicKey) || Date.parse(certificate.validTo) - now < LEAST_LEFT) return false;
  return hosts.every(
    (host) => (isIp(host) ? certificate.checkIP(host) : certificate.checkHost(host)) !== undefined,
  );
}

/** Some minutes early, for clients whose clock is behind. */
const span = (now: number, days: number): { notBefore: Date; notAfter: Date } => ({
  notBefore: new Date(now - 300_000),
  notAfter: new Date(now + days * DAY),
});

/** A positive number of sixteen bytes. */
function serial(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] as number) & 0x3f) | 0x40;
  return Buffer.from(bytes).toString("hex");
}

function read(directory: string, name: string): Pair | undefined {
  const [certFile, keyFile] = files(directory, name);
  if (!existsSync(certFile) || !existsSync(keyFile)) return undefined;
  const pair = { cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
  try {
    new X509Certificate(pair.cert);
    return pair;
  } catch (error) {
    throw new WeftError("invalid", `it is no certificate: ${describeError(error)}`, {
      object: certFile,
      hint: "Put it right, or remove it to have a new one made.",
      cause: error,
    });
  }
}

async function write(
  directory: string,
  name: string,
  certificate: Certificate,
  key: CryptoKey,
): Promise<Pair> {
  const pair: Pair = {
    cert: `${certificate.toString("pem")}\n`,
    key: `${PemConverter.encode(await crypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY")}\n`,
  };
  const [certFile, keyFile] = files(directory, name);
  replaceFile(keyFile, pair.key, 0o600);
  replaceFile(certFile, pair.cert, 0o644);
  return pair;
}

const files = (directory: string, name: string): [string, string] => [
  join(directory, `${name}.crt`),
  join(directory, `${name}.key`),
];

/** Writes a file whole or not at all, and into no file or link that somebody has put there under the name in between. */
export function replaceFile(path: string, text: string, mode: number): void {
  rmSync(`${path}.new`, { force: true });
  writeFileSync(`${path}.new`, text, { mode, flag: "wx" });
  renameSync(`${path}.new`, path);
}
