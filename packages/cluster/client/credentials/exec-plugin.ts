/**
 * Exec credential plugins: a program that prints an ExecCredential with a token or a client certificate
 * (Kubernetes documentation, "client-go credential plugins"). It runs without a terminal, at most once at a
 * time, and its answer is used until it expires or the server refuses it.
 */
import { isAbsolute, resolve } from "node:path";
import { type Clock, describeError, systemClock, WeftError } from "@weft/base";
import { pairOf, parseCertificates, parseKey } from "./certificate.ts";
import { parseToken } from "./rotating-file.ts";
import type { ClientCertificate, Trust } from "./types.ts";

export const EXEC_VERSIONS = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

export interface ExecConfig {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly installHint: string | undefined;
  readonly provideClusterInfo: boolean;
  /** Directory of the kubeconfig, from which a command with a slash is found. */
  readonly directory: string;
  /** "users[0].user.exec of /root/.kube/config" */
  readonly source: string;
}

export interface ExecAnswer {
  readonly token: string | undefined;
  readonly certificate: ClientCertificate | undefined;
  /** Milliseconds since the epoch. */
  readonly expires: number | undefined;
}

/** What a plugin that asks for it is told of the cluster. */
export type ClusterInfo = { readonly server: string } & Trust;

/** Milliseconds that a plugin may take. */
const TIMEOUT = 60_000;
/** An answer is renewed this long before it expires, in milliseconds. */
const EARLY = 10_000;
const MAX_OUTPUT = 1024 * 1024;

export class ExecPlugin {
  readonly #config: ExecConfig;
  readonly #cluster: () => ClusterInfo;
  readonly #clock: Clock;
  #answer: ExecAnswer | undefined;
  #running: Promise<ExecAnswer> | undefined;

  constructor(config: ExecConfig, cluster: () => ClusterInfo, clock: Clock = systemClock) {
    this.#config = config;
    this.#cluster = cluster;
    this.#clock = clock;
  }

  get source(): string {
    return this.#config.source;
  }

  async answer(): Promise<ExecAnswer> {
    const { expires } = this.#answer ?? {};
    const current = expires === undefined || this.#clock.now() < expires - EARLY;
    if (this.#answer !== undefined && current) return this.#answer;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  forget(): void {
    this.#answer = undefined;
  }

  async #run(): Promise<ExecAnswer> {
    const text = await this.#output();
    this.#answer = readAnswer(text, this.#config);
    return this.#answer;
  }

  async #output(): Promise<string> {
    const { command, args, env, directory, source, installHint } = this.#config;
    const program = command.includes("/") && !isAbsolute(command) ? resolve(directory, command) : command;
    const failed = (why: string, cause?: unknown): WeftError =>
      new WeftError("permission", `${source}: ${program} ${why}`, {
        object: source,
        hint: installHint ?? `Run it by hand: ${[program, ...args].join(" ")}`,
        cause,
      });
    let child: Bun.Subprocess<"ignore", "pipe", "pipe">;
    try {
      child = Bun.spawn([program, ...args], {
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
        env: {
          ...process.env,
          ...Object.fromEntries(env.map(({ name, value }) => [name, value])),
          KUBERNETES_EXEC_INFO: JSON.stringify(this.#info()),
        },
        maxBuffer: MAX_OUTPUT,
      });
    } catch (cause) {
      const absent = (cause as NodeJS.ErrnoException).code === "ENOENT";
      throw failed(absent ? "is not installed" : `cannot be run: ${describeError(cause)}`);
    }
    // Not its end: what it has started may hold its outputs open for as long as it likes.
    const late = Promise.withResolvers<never>();
    const cancel = this.#clock.setTimeout(() => {
      child.kill("SIGKILL");
      late.reject(failed(`took longer than ${TIMEOUT / 1000} s`));
    }, TIMEOUT);
    try {
      const [out, complaints, status] = await Promise.race([
        Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]),
        late.promise,
      ]);
      if (status !== 0) {
        const said = complaints.trim().slice(-500) || (child.signalCode ?? "and says nothing");
        throw failed(`failed with status ${status}: ${said}`);
      }
      return out;
    } finally {
      cancel();
    }
  }

  #info(): unknown {
    const { apiVersion, provideClusterInfo } = this.#config;
    if (!provideClusterInfo) return { apiVersion, kind: "ExecCredential", spec: { interactive: false } };
    const { server, ca, serverName, insecure } = this.#cluster();
    const cluster = {
      server,
      ...(serverName === undefined ? {} : { "tls-server-name": serverName }),
      ...(insecure ? { "insecure-skip-tls-verify": true } : {}),
      ...(ca === undefined ? {} : { "certificate-authority-data": btoa(ca) }),
      config: null,
    };
    return { apiVersion, kind: "ExecCredential", spec: { interactive: false, cluster } };
  }
}

/** An ExecCredential. Throws "invalid", naming the field. */
function readAnswer(text: string, config: ExecConfig): ExecAnswer {
  const source = `answer of ${config.command} (${config.source})`;
  const invalid = (why: string): WeftError =>
    new WeftError("invalid", `${source}: ${why}`, {
      object: config.source,
      hint: "The program must print an ExecCredential in JSON, and nothing else, to its standard output.",
    });
  let object: { apiVersion?: unknown; kind?: unknown; status?: Record<string, unknown> | null } | null;
  try {
    object = JSON.parse(text);
  } catch (error) {
    throw invalid(`is no JSON: ${describeError(error)}`);
  }
  if (object?.kind !== "ExecCredential") throw invalid('kind must be "ExecCredential"');
  if (object.apiVersion !== config.apiVersion) {
    throw invalid(`apiVersion is ${JSON.stringify(object.apiVersion)}, ${config.apiVersion} was asked for`);
  }
  const field = (name: string): string | undefined => {
    const value = object?.status?.[name] ?? undefined;
    if (value === undefined || value === "") return undefined;
    if (typeof value !== "string") throw invalid(`status.${name} must be a string`);
    return value;
  };
  const token = field("token");
  const cert = field("clientCertificateData");
  const key = field("clientKeyData");
  const time = field("expirationTimestamp");
  const expires = time === undefined ? undefined : Date.parse(time);
  if (Number.isNaN(expires)) throw invalid(`status.expirationTimestamp "${time}" is no time`);
  if ((cert === undefined) !== (key === undefined)) {
    throw invalid("status must have clientCertificateData and clientKeyData, or neither");
  }
  if (token === undefined && cert === undefined) {
    throw invalid("status has neither a token nor clientCertificateData");
  }
  return {
    token: token === undefined ? undefined : parseToken(token, `${source}: status.token`),
    certificate:
      cert === undefined || key === undefined
        ? undefined
        : pairOf(
            parseCertificates(cert, `${source}: status.clientCertificateData`),
            parseKey(key, `${source}: status.clientKeyData`),
            source,
          ),
    expires,
  };
}
