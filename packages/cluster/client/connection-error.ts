/** Failures before there is an answer: which of the many, and what to do about it. */
import { connect } from "node:tls";
import { type ErrorCode, WeftError } from "@weft/base";
import { clockTime, isoTime, validityFault } from "./credentials/certificate.ts";
import type { Identity, Trust } from "./credentials/index.ts";
import { socketOf } from "./unix-socket.ts";

export interface Attempt {
  /** "GET /api/v1/nodes" */
  readonly request: string;
  readonly server: string;
  readonly trust: Trust;
  readonly identity: Identity;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** What is wrong with the client's own certificate, or undefined. */
export function identityFault({ certificate }: Identity, now: number): string | undefined {
  const fault = certificate === undefined ? undefined : validityFault(certificate.cert, now);
  return fault === undefined ? undefined : `the client's certificate (${certificate?.source}) ${fault}`;
}

type Finding = readonly [code: ErrorCode, what: string, hint: string];

/** A WeftError of what fetch rejected with. Looks at the server's certificate when that is at fault. */
export async function connectionError(cause: unknown, attempt: Attempt): Promise<WeftError> {
  if (cause instanceof WeftError) return cause;
  const [code, what, hint] = await find(codeOf(cause), attempt);
  return new WeftError(code, `${attempt.server}: ${what}`, {
    object: attempt.request,
    hint,
    cause: tidy(cause),
  });
}

/** The cause in short: what Bun says to developers is of no use to whoever runs this. */
export function tidy(cause: unknown): Error {
  const text = codeOf(cause) || (cause instanceof Error ? cause.message : String(cause));
  return new Error(text);
}

function codeOf(cause: unknown): string {
  const code = cause instanceof Error ? (cause as NodeJS.ErrnoException).code : undefined;
  return typeof code === "string" ? code : "";
}

const UNTRUSTED =
  /^(UNABLE_TO_(VERIFY_LEAF_SIGNATURE|GET_ISSUER_CERT(_LOCALLY)?)|(DEPTH_ZERO_)?SELF_SIGNED_CERT(_IN_CHAIN)?|CERT_(SIGNATURE_FAILURE|UNTRUSTED|REJECTED)|INVALID_CA)$/;

async function find(code: string, attempt: Attempt): Promise<Finding> {
  const { trust, identity, server, now } = attempt;
  if (socketOf(server) !== undefined) return ON_SOCKET[code] ?? plain(code, CHECK_SOCKET);
  if (UNTRUSTED.test(code)) {
    const peer = await peerOf(attempt);
    const signer = peer === undefined ? "" : ` (it is signed by ${peer.issuer})`;
    return [
      "permission",
      `the server's certificate is not signed by the CA of ${trust.caSource}${signer}`,
      "Give the CA of this cluster, and check that the address is the right one.",
    ];
  }
  if (code === "CERT_HAS_EXPIRED" || code === "CERT_NOT_YET_VALID") {
    const ofCa = trust.ca === undefined ? undefined : validityFault(trust.ca, now);
    if (ofCa !== undefined) {
      return [
        "permission",
        `the CA of ${trust.caSource} ${ofCa}`,
        "Give a valid CA, or correct this machine's clock.",
      ];
    }
    const peer = await peerOf(attempt);
    const when = code === "CERT_HAS_EXPIRED" ? "expired" : "is not valid yet";
    const at =
      peer === undefined ? "" : ` (valid from ${peer.from} to ${peer.to}, and it is ${clockTime(now)} here)`;
    return [
      "permission",
      `the server's certificate ${when}${at}`,
      "Renew the API server's certificate, or correct this machine's clock.",
    ];
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    const peer = await peerOf(attempt);
    const names = peer === undefined ? "other names" : peer.names || "no name at all";
    const wanted = trust.serverName ?? new URL(server).hostname;
    return [
      "permission",
      `the server's certificate is for ${names}, not for ${wanted}`,
      "Use one of its names in the server's URL, or set tls-server-name.",
    ];
  }
  const fault = identityFault(identity, now);
  if (fault !== undefined && (code === "ECONNRESET" || code === "EPROTO")) {
    return [
      "permission",
      `the connection was refused in the TLS handshake: ${fault}`,
      "Renew the client's certificate.",
    ];
  }
  return PLAIN[code] ?? plain(code, CHECK_NETWORK);
}

const plain = (code: string, hint: string): Finding => [
  "unavailable",
  `the connection failed${code === "" ? "" : ` (${code})`}`,
  hint,
];

const CHECK_SOCKET = "Check that the API server runs (weft server), and that this is its socket.";

/** What connect(2) says of a unix socket. */
const ON_SOCKET: Readonly<Record<string, Finding>> = {
  ENOENT: ["unavailable", "there is no such socket", CHECK_SOCKET],
  ECONNREFUSED: ["unavailable", "nobody listens on this socket", CHECK_SOCKET],
  ECONNRESET: ["unavailable", "the connection was closed in the middle", CHECK_SOCKET],
  EACCES: ["permission", "this user may not open the socket", "Run this as root, or as the server's user."],
  EPERM: ["permission", "this user may not open the socket", "Run this as root, or as the server's user."],
};

const CHECK_NETWORK = "Check that the address is right and that the API server can be reached from here.";

const PLAIN: Readonly<Record<string, Finding>> = {
  ECONNREFUSED: [
    "unavailable",
    "connection refused: nothing listens there",
    "Check that the API server runs, and the port.",
  ],
  ENOTFOUND: [
    "unavailable",
    "the name cannot be resolved",
    "Check the name in the server's URL, and the DNS of this machine.",
  ],
  EAI_AGAIN: ["unavailable", "the DNS of this machine does not answer", "Check /etc/resolv.conf."],
  ECONNRESET: ["unavailable", "the connection was closed in the middle", CHECK_NETWORK],
  EPROTO: [
    "unavailable",
    "the TLS handshake failed",
    "Check that the port speaks TLS, and whether the server wants a client certificate.",
  ],
  ETIMEDOUT: ["timeout", "nothing answers", CHECK_NETWORK],
  ENETUNREACH: ["unavailable", "there is no route to it", CHECK_NETWORK],
  EHOSTUNREACH: ["unavailable", "the host cannot be reached", CHECK_NETWORK],
};

interface Peer {
  readonly issuer: string;
  readonly names: string;
  readonly from: string;
  readonly to: string;
}

/** What the server's certificate says, without believing it; undefined when it does not tell within two seconds. */
function peerOf({ server, trust }: Attempt): Promise<Peer | undefined> {
  const url = new URL(server);
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const servername = trust.serverName ?? (/^[\d.]+$|:/.test(host) ? undefined : host);
  return new Promise((resolve) => {
    const socket = connect(
      {
        host,
        port: Number(url.port || 443),
        rejectUnauthorized: false,
        ...(servername === undefined ? {} : { servername }),
      },
      () => {
        const cert = socket.getPeerCertificate();
        const issuer = cert.issuer === undefined ? undefined : (cert.issuer.CN ?? cert.issuer.O);
        const names = (cert.subjectaltname ?? "").replaceAll("DNS:", "").replaceAll("IP Address:", "");
        end(
          issuer === undefined
            ? undefined
            : { issuer: `"${issuer}"`, names, from: isoTime(cert.valid_from), to: isoTime(cert.valid_to) },
        );
      },
    );
    const timer = setTimeout(() => end(undefined), 2000);
    const end = (peer: Peer | undefined): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(peer);
    };
    socket.on("error", () => end(undefined));
  });
}
