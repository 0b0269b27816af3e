/** The cluster's certificates: one authority, and what it has signed, by openssl. Nobody keeps them. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../command.ts";

const DAYS = "7";

export interface Leaf {
  /** Begins the names of the files. */
  readonly name: string;
  readonly commonName: string;
  readonly organization?: string;
  /** "DNS:node1", "IP:172.31.1.11". */
  readonly names?: readonly string[];
}

export interface Certificate {
  /** PEM. */
  readonly certificate: string;
  /** PEM. */
  readonly key: string;
}

export class Authority {
  readonly certificate: string;
  private readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
    this.certificate = readFileSync(join(directory, "ca.crt"), "utf8");
  }

  static async make(directory: string): Promise<Authority> {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const usage = ["basicConstraints = critical,CA:TRUE", "keyUsage = critical,keyCertSign,cRLSign"];
    await request(directory, { name: "ca", commonName: "weft-e2e" }, usage, []);
    return new Authority(directory);
  }

  /** For a server and a client both. */
  async issue(leaf: Leaf): Promise<Certificate> {
    const { directory } = this;
    const usage = [
      "basicConstraints = critical,CA:FALSE",
      "keyUsage = critical,digitalSignature",
      "extendedKeyUsage = serverAuth,clientAuth",
      ...(leaf.names === undefined ? [] : [`subjectAltName = ${leaf.names.join(",")}`]),
    ];
    const signer = ["-CA", join(directory, "ca.crt"), "-CAkey", join(directory, "ca.key")];
    await request(directory, leaf, usage, signer);
    return {
      certificate: readFileSync(join(directory, `${leaf.name}.crt`), "utf8"),
      key: readFileSync(join(directory, `${leaf.name}.key`), "utf8"),
    };
  }
}

async function request(
  directory: string,
  leaf: Leaf,
  usage: readonly string[],
  signer: readonly string[],
): Promise<void> {
  const configuration = join(directory, `${leaf.name}.cnf`);
  const subject = [
    ...(leaf.organization === undefined ? [] : [`O = ${leaf.organization}`]),
    `CN = ${leaf.commonName}`,
  ];
  writeFileSync(
    configuration,
    [
      ...["[req]", "prompt = no", "distinguished_name = subject", "x509_extensions = usage"],
      ...["[subject]", ...subject, "[usage]", ...usage, ""],
    ].join("\n"),
  );
  await run([
    ...["openssl", "req", "-x509", "-config", configuration, "-days", DAYS, "-sha256", ...signer],
    ...["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
    ...["-keyout", join(directory, `${leaf.name}.key`), "-out", join(directory, `${leaf.name}.crt`)],
  ]);
}

/** A kubeconfig of one cluster and one user, everything in it. */
export function kubeconfig(server: string, authority: Authority, user: Certificate): object {
  const base64 = (pem: string): string => Buffer.from(pem).toString("base64");
  return {
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      { name: "e2e", cluster: { server, "certificate-authority-data": base64(authority.certificate) } },
    ],
    users: [
      {
        name: "e2e",
        user: {
          "client-certificate-data": base64(user.certificate),
          "client-key-data": base64(user.key),
        },
      },
    ],
    contexts: [{ name: "e2e", context: { cluster: "e2e", user: "e2e" } }],
    "current-context": "e2e",
  };
}
