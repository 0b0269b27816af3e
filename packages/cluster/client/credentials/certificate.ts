/** PEM texts: checked before they are used, because what TLS says of a bad one names nothing. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { describeError, WeftError } from "@weft/base";
import type { ClientCertificate } from "./types.ts";

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g;

/** The certificates of a text that may hold keys as well, as the kubelet's does. Throws "invalid". */
export function parseCertificates(text: string, source: string): string {
  const blocks = [...text.matchAll(BLOCK)].filter(([, kind]) => kind === "CERTIFICATE").map(([pem]) => pem);
  if (blocks.length === 0) throw invalid(source, "has no certificate in PEM");
  for (const pem of blocks) {
    try {
      new X509Certificate(pem);
    } catch (error) {
      throw invalid(source, `has a certificate that cannot be read: ${describeError(error)}`);
    }
  }
  return `${blocks.join("\n")}\n`;
}

/** The private key of a text. Throws "invalid". */
export function parseKey(text: string, source: string): string {
  const key = [...text.matchAll(BLOCK)].find(([, kind]) => kind?.endsWith("PRIVATE KEY"))?.[0];
  if (key === undefined) throw invalid(source, "has no private key in PEM");
  if (/ENCRYPTED/.test(key)) throw invalid(source, "is encrypted, and nobody is there to give a password");
  try {
    createPrivateKey(key);
  } catch (error) {
    throw invalid(source, `cannot be read: ${describeError(error)}`);
  }
  return `${key}\n`;
}

/** Certificate and key, which must belong together. Throws "invalid". */
export function pairOf(cert: string, key: string, source: string): ClientCertificate {
  if (!leafOf(cert).checkPrivateKey(createPrivateKey(key))) {
    throw invalid(source, "client certificate and client key do not belong together");
  }
  return { cert, key, source };
}

export const leafOf = (pem: string): X509Certificate => new X509Certificate(pem);

/**
 * What is wrong with the time of one of the certificates, or undefined; `now` in milliseconds since the epoch. Both
 * times are told: it may be this machine's clock that is wrong.
 */
export function validityFault(pem: string, now: number): string | undefined {
  for (const [block] of pem.matchAll(BLOCK)) {
    const { validFrom, validTo } = leafOf(block);
    if (now > Date.parse(validTo)) return `expired at ${isoTime(validTo)}, and it is ${clockTime(now)} here`;
    if (now < Date.parse(validFrom))
      return `is not valid before ${isoTime(validFrom)}, and it is ${clockTime(now)} here`;
  }
  return undefined;
}

/** This machine's time, to the second. */
export const clockTime = (now: number): string => isoTime(new Date(now - (now % 1000)).toISOString());

export const isoTime = (text: string): string => new Date(text).toISOString().replace(".000Z", "Z");

function invalid(source: string, why: string): WeftError {
  return new WeftError("invalid", `${source}: ${why}`, {
    object: source,
    hint: "It must be PEM text: lines between -----BEGIN ...----- and -----END ...-----.",
  });
}
