/**
 * The API servers that are compared, each as processes of its own on 127.0.0.1 with a directory of its own, asked by the
 * same client: Weft's, and kube-apiserver with etcd as the cluster tests build them. Both write through to the disk
 * before they answer. Who asks has a bearer token; what it may do is not checked anywhere.
 */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type Ask = (path: string, init?: RequestInit) => Promise<Response>;

export interface Server {
  readonly name: string;
  /** The ways to it, by name. */
  readonly ways: readonly { readonly name: string; readonly ask: Ask }[];
  /** Starts it, also again with what it holds; seconds until it answers. */
  start(): Promise<number>;
  stop(): Promise<void>;
  /** Stops it and removes what it has. */
  remove(): Promise<void>;
  /** Seconds of CPU that its processes have taken since they were started. */
  cpu(): number;
  /** Bytes resident. */
  memory(): number;
}

const TOKEN = randomBytes(16).toString("hex");
const PATIENCE_MS = 120_000;

const over = (root: string): Ask => {
  return (path, init = {}) => {
    const headers = { Authorization: `Bearer ${TOKEN}`, ...init.headers };
    const tls = { rejectUnauthorized: false };
    return fetch(`${root}${path}`, { ...init, headers, tls, timeout: false } as BunFetchRequestInit);
  };
};

/** Starts all of it in a directory, and says how it is reached. */
type Begin = (
  directory: string,
) => Promise<{ readonly children: Bun.Subprocess[]; readonly ways: Server["ways"] }>;

class Processes implements Server {
  readonly name: string;
  readonly directory: string;
  ways: Server["ways"] = [];
  readonly #begin: Begin;
  #children: Bun.Subprocess[] = [];

  constructor(name: string, begin: Begin) {
    this.name = name;
    this.#begin = begin;
    this.directory = mkdtempSync(join(tmpdir(), `weft-bench-server-${process.pid}-`));
  }

  async start(): Promise<number> {
    const began = performance.now();
    const { children, ways } = await this.#begin(this.directory);
    this.#children = children;
    this.ways = ways;
    while (!(await isReady(ways[0]?.ask))) {
      if (children.some(({ exitCode }) => exitCode !== null) || performance.now() - began > PATIENCE_MS) {
        throw new Error(
          `${this.name} does not start: ${readFileSync(join(this.directory, "log"), "utf8").slice(-2000)}`,
        );
      }
      await Bun.sleep(10);
    }
    return (performance.now() - began) / 1000;
  }

  /** The last one first: it asks those before it. */
  async stop(): Promise<void> {
    for (const child of this.#children.reverse()) {
      child.kill("SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await child.exited;
      clearTimeout(late);
    }
    this.#children = [];
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  cpu(): number {
    return sum(this.#children, (pid) => {
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
      return (Number(fields[11]) + Number(fields[12])) / 100;
    });
  }

  memory(): number {
    return sum(this.#children, (pid) => {
      return 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
    });
  }
}

const sum = (children: readonly Bun.Subprocess[], of: (pid: number) => number): number =>
  children.reduce((total, { pid }) => total + of(pid), 0);

async function isReady(ask: Ask | undefined): Promise<boolean> {
  try {
    return (await ask?.("/api/v1/namespaces/default"))?.status === 200;
  } catch {
    return false;
  }
}

/** Two are never started at the same moment, so that nobody else takes it in between but by bad luck. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((done) => server.close(() => done()));
  return port;
}

function spawn(directory: string, command: readonly string[]): Bun.Subprocess {
  // Should this end without a word, so do they.
  return Bun.spawn(["setpriv", "--pdeathsig", "KILL", ...command], {
    stdout: "ignore",
    stderr: Bun.file(join(directory, "log")),
    env: { PATH: process.env["PATH"] ?? "" },
  });
}

export const weft = (executable: string): Server =>
  new Processes("Weft", async (directory) => {
    const tokens = join(directory, "tokens");
    writeFileSync(tokens, `${TOKEN}\n`);
    const port = await freePort();
    const words = ["server", "--data", directory, "--port", String(port), "--tokens", tokens];
    const unix = join(directory, "server.sock");
    const bySocket: Ask = (path, init = {}) =>
      fetch(`http://server${path}`, { ...init, unix, timeout: false } as BunFetchRequestInit);
    return {
      children: [spawn(directory, [executable, ...words])],
      ways: [
        { name: "https", ask: over(`https://127.0.0.1:${port}`) },
        { name: "socket", ask: bySocket },
      ],
    };
  });

/** Undefined when the cluster tests have not built it. */
export function kubernetes(cache: string): Server | undefined {
  const built = existsSync(cache)
    ? readdirSync(cache).find((n) => /^kubernetes-v1\.34\.[^.]*$/.test(n))
    : undefined;
  const etcd = join(cache, "debian/usr/bin/etcd");
  if (built === undefined || !existsSync(etcd)) return undefined;
  return new Processes("kube-apiserver", async (directory) => {
    const [client, peer, port] = [await freePort(), await freePort(), await freePort()];
    const key = join(directory, "accounts.key");
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    writeFileSync(key, privateKey.export({ type: "pkcs1", format: "pem" }));
    const tokens = join(directory, "tokens.csv");
    writeFileSync(tokens, `${TOKEN},bench,bench,system:masters\n`);
    mkdirSync(join(directory, "etcd"), { recursive: true, mode: 0o700 });
    const store = spawn(directory, [
      etcd,
      `--data-dir=${join(directory, "etcd")}`,
      "--log-level=error",
      `--listen-client-urls=http://127.0.0.1:${client}`,
      `--advertise-client-urls=http://127.0.0.1:${client}`,
      `--listen-peer-urls=http://127.0.0.1:${peer}`,
      `--initial-advertise-peer-urls=http://127.0.0.1:${peer}`,
      `--initial-cluster=default=http://127.0.0.1:${peer}`,
    ]);
    const server = spawn(directory, [
      join(cache, built, "kube-apiserver"),
      `--etcd-servers=http://127.0.0.1:${client}`,
      `--secure-port=${port}`,
      "--bind-address=127.0.0.1",
      "--advertise-address=127.0.0.1",
      "--endpoint-reconciler-type=none",
      `--cert-dir=${join(directory, "certificates")}`,
      `--token-auth-file=${tokens}`,
      "--authorization-mode=AlwaysAllow",
      "--service-account-issuer=https://bench",
      `--service-account-key-file=${key}`,
      `--service-account-signing-key-file=${key}`,
      "--service-cluster-ip-range=10.96.0.0/16",
      "--disable-admission-plugins=ServiceAccount",
      "--profiling=false",
    ]);
    return { children: [store, server], ways: [{ name: "https", ask: over(`https://127.0.0.1:${port}`) }] };
  });
}
