/**
 * The certificates of a server that nobody gave any: an authority of its own, made at the first start and kept; the
 * server's, for every name and address it listens on; and one for the administrator's kubeconfig. What is about to run
 * out, or lacks a name, is made again, at a start and while the server runs (renewal.ts).
 *
 * An authority is never replaced: all who trust it would trust nobody then. One that somebody brought may be of RSA,
 * elliptic curves or Ed25519; without its key the server runs for as long as its own certificates are good.
 */
// The X.509 library needs it, and before itself.
import "reflect-metadata";
import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import {
  BasicConstraintsExtension,
  X509Certificate as Certificate,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { isIp, WeftError } from "@weft/base";
import { makeDirectory } from "@weft/cluster/server";
import { checkPair, isPair, type Pair, readPair, signingKeyOf, writePair } from "./pair.ts";

export interface Certificates {
  readonly authority: string;
  readonly server: Pair;
  readonly admin: Pair;
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
export const DAY = 86_400_000;
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
  makeDirectory(directory);
  const authority = await authorityOf(directory, now);
  const server = await leafOf(directory, "server", authority, now, hosts, () =>
    extensions(ExtendedKeyUsage.serverAuth, hosts),
  );
  const admin = await leafOf(directory, "admin", authority, now, [], () =>
    extensions(ExtendedKeyUsage.clientAuth, []),
  );
  return { authority: authority.cert, server, admin };
}

/** Milliseconds since 1970 at which a certificate ends. */
export const endOf = (cert: string): number => Date.parse(new X509Certificate(cert).validTo);

interface Authority {
  readonly cert: string;
  /** Undefined when whoever brought it keeps it elsewhere. */
  readonly key: string | undefined;
}

async function authorityOf(directory: string, now: number): Promise<Authority> {
  const { cert, key, certFile, keyFile } = readPair(directory, "ca");
  if (cert !== undefined) {
    if (!new X509Certificate(cert).ca) {
      throw new WeftError("invalid", "it is a certificate, but not that of an authority", {
        object: certFile,
        hint: "Put a certificate there that may sign others (basicConstraints CA:TRUE), with its key in ca.key.",
      });
    }
    if (key !== undefined) checkPair({ cert, key }, certFile, keyFile);
    return { cert, key };
  }
  // A first start that was killed has left a key alone, by which nothing was signed.
  const isFirst = ["server", "admin"].every((name) => readPair(directory, name).cert === undefined);
  if (key !== undefined && !isFirst) {
    throw new WeftError("invalid", "there is the key of an authority, but ca.crt is missing", {
      object: keyFile,
      hint: "Put ca.crt back beside it; or, if no client trusts it any more, remove ca.key to have a new authority made.",
    });
  }
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: "CN=weft",
    ...span(now, now + AUTHORITY_DAYS * DAY),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  return writePair(directory, "ca", certificate, keys.privateKey);
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
  authority: Authority,
  now: number,
  hosts: readonly string[],
  extensionsOf: () => Extension[],
): Promise<Pair> {
  const { cert, key } = readPair(directory, name);
  // A server that was killed while it made them anew leaves the new key beside the old certificate.
  const held = cert !== undefined && key !== undefined && isPair({ cert, key }) ? { cert, key } : undefined;
  const why = held === undefined ? "there is none" : faultOf(held.cert, authority.cert, hosts, now);
  if (held !== undefined && why === undefined) return held;
  if (authority.key === undefined) {
    // What has a month left serves its time.
    if (held !== undefined && why === RUNS_OUT && endOf(held.cert) > now) return held;
    throw new WeftError(
      "invalid",
      `a new ${name}.crt is needed (${why}), and ca.key, which signs it, is missing`,
      {
        object: join(directory, "ca.key"),
        hint: `Put ca.key back; or put ${name}.crt and ${name}.key there, signed with it${hosts.length === 0 ? "" : ` for ${hosts.join(", ")}`}; or move ca.crt away to have a new authority made, which all clients must be told of.`,
      },
    );
  }
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const signing = await signingKeyOf(authority.key, join(directory, "ca.key"));
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: name === "admin" ? "CN=weft-admin,O=system:masters" : "CN=weft-server",
    issuer: new Certificate(authority.cert).subject,
    // Beyond its authority's end nobody would take it.
    ...span(now, Math.min(now + LEAF_DAYS * DAY, endOf(authority.cert))),
    publicKey: keys.publicKey,
    signingKey: signing.key,
    signingAlgorithm: signing.algorithm,
    extensions: extensionsOf(),
  });
  return writePair(directory, name, certificate, keys.privateKey);
}

const RUNS_OUT = "it runs out";

/** Why a certificate cannot go on being used; undefined when it can. */
function faultOf(cert: string, authority: string, hosts: readonly string[], now: number): string | undefined {
  const certificate = new X509Certificate(cert);
  if (!certificate.verify(new X509Certificate(authority).publicKey)) return "it is of another authority";
  const missing = hosts.find(
    (host) => (isIp(host) ? certificate.checkIP(host) : certificate.checkHost(host)) === undefined,
  );
  if (missing !== undefined) return `it is not for ${missing}`;
  // One that ends with its authority cannot be made to last longer.
  const end = endOf(cert);
  return end - now < LEAST_LEFT && (end < endOf(authority) || end <= now) ? RUNS_OUT : undefined;
}

/** Some minutes early, for clients whose clock is behind. */
const span = (now: number, end: number): { notBefore: Date; notAfter: Date } => ({
  notBefore: new Date(now - 300_000),
  notAfter: new Date(end),
});

/** A positive number of sixteen bytes. */
function serial(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] as number) & 0x3f) | 0x40;
  return Buffer.from(bytes).toString("hex");
}
