/** A certificate and its key in two files. */
import { createPrivateKey, KeyObject, X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
// Its type alone: who loads the library must have loaded another before it (certificates.ts).
import type { X509Certificate as Certificate } from "@peculiar/x509";
import { describeError, replaceFile, WeftError } from "@weft/base";

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

export interface FoundPair {
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly certFile: string;
  readonly keyFile: string;
}

/** What is there of the two. Throws "invalid" for what is no certificate. */
export function readPair(directory: string, name: string): FoundPair {
  const [certFile, keyFile] = filesOf(directory, name);
  const read = (file: string): string | undefined =>
    existsSync(file) ? readFileSync(file, "utf8") : undefined;
  const [cert, key] = [read(certFile), read(keyFile)];
  try {
    if (cert !== undefined) new X509Certificate(cert);
  } catch (cause) {
    throw new WeftError("invalid", `it is no certificate: ${describeError(cause)}`, {
      object: certFile,
      hint: "Put it right, or remove it to have a new one made.",
      cause,
    });
  }
  return { cert, key, certFile, keyFile };
}

export function isPair({ cert, key }: Pair): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

/** Throws "invalid" for a key that cannot be read, or is that of another certificate. */
export function checkPair({ cert, key }: Pair, certFile: string, keyFile: string): void {
  if (new X509Certificate(cert).checkPrivateKey(readKey(key, keyFile))) return;
  throw new WeftError("invalid", `it is not the key of ${certFile}`, {
    object: keyFile,
    hint: "Put the two files there that belong together.",
  });
}

function readKey(key: string, file: string): KeyObject {
  try {
    return createPrivateKey(key);
  } catch (cause) {
    throw new WeftError("invalid", `it is no private key: ${describeError(cause)}`, {
      object: file,
      hint: "Give it in PEM, without a password: openssl pkey -in OLD -out NEW. Use RSA, Ed25519, or P-256, P-384 or P-521.",
      cause,
    });
  }
}

const CURVES: Readonly<Record<string, { namedCurve: string; hash: string }>> = {
  prime256v1: { namedCurve: "P-256", hash: "SHA-256" },
  secp384r1: { namedCurve: "P-384", hash: "SHA-384" },
  secp521r1: { namedCurve: "P-521", hash: "SHA-512" },
};

/** By the names of the Web Cryptography API. */
export interface SigningAlgorithm {
  readonly name: string;
  readonly hash: string;
  readonly namedCurve: string;
}

/** An authority's key for signing, with what it signs by. Throws "unsupported". */
export async function signingKeyOf(
  pem: string,
  file: string,
): Promise<{ key: CryptoKey; algorithm: SigningAlgorithm }> {
  const key = readKey(pem, file);
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  const curve = CURVES[details?.namedCurve ?? ""];
  const algorithm: SigningAlgorithm | undefined =
    type === "rsa"
      ? { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", namedCurve: "" }
      : type === "ed25519"
        ? { name: "Ed25519", hash: "SHA-512", namedCurve: "" }
        : type === "ec" && curve !== undefined
          ? { name: "ECDSA", ...curve }
          : undefined;
  if (algorithm === undefined) {
    throw new WeftError(
      "unsupported",
      `a key of type ${type} ${details?.namedCurve ?? ""} cannot sign here`,
      {
        object: file,
        hint: "Use RSA, Ed25519, or one of the curves P-256, P-384 and P-521.",
      },
    );
  }
  const der = new Uint8Array(key.export({ type: "pkcs8", format: "der" }));
  return { key: await crypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]), algorithm };
}

/** The key first: a certificate without its key is of no use, and a key without one is made again. */
export function writePair(directory: string, name: string, certificate: Certificate, key: CryptoKey): Pair {
  const pair: Pair = {
    cert: `${certificate.toString("pem")}\n`,
    key: KeyObject.from(key).export({ type: "pkcs8", format: "pem" }).toString(),
  };
  const [certFile, keyFile] = filesOf(directory, name);
  replaceFile(keyFile, pair.key, 0o600);
  replaceFile(certFile, pair.cert, 0o644);
  return pair;
}

const filesOf = (directory: string, name: string): [string, string] => [
  join(directory, `${name}.crt`),
  join(directory, `${name}.key`),
];
