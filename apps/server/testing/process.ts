/** `weft server` as a process of its own, as a user starts it. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../../..");
export const MAIN = join(ROOT, "apps/cli/main.ts");

export interface ServerProcess {
  readonly directory: string;
  readonly kubeconfig: string;
  readonly socket: string;
  readonly pid: number;
  readonly log: () => string;
  kill(): Promise<void>;
  stop(): Promise<number>;
}

export const temporaryDirectory = (): string => mkdtempSync(join(tmpdir(), "weft-server-"));
export const removeDirectory = (path: string): void => rmSync(path, { recursive: true, force: true });

/** Resolves when it serves. */
export async function startProcess(directory: string, ...words: readonly string[]): Promise<ServerProcess> {
  const command = [process.execPath, MAIN, "server", "--data", directory, "--port", "0", ...words];
  const logFile = join(directory, "..", `${directory.split("/").at(-1)}.log`);
  const child = Bun.spawn(command, { stdout: "pipe", stderr: Bun.file(logFile) });
  const log = (): string => readFileSync(logFile, "utf8");
  const { value } = await child.stdout.getReader().read();
  if (value === undefined) throw new Error(`the server did not start: ${log()}`);
  const end = async (signal: NodeJS.Signals): Promise<number> => {
    child.kill(signal);
    const code = await child.exited;
    rmSync(logFile, { force: true });
    return code;
  };
  return {
    directory,
    kubeconfig: join(directory, "kubeconfig"),
    socket: join(directory, "server.sock"),
    pid: child.pid,
    log,
    kill: async () => void (await end("SIGKILL")),
    stop: () => end("SIGTERM"),
  };
}

/** The kubectl of the cluster tests, which is built with their Kubernetes; undefined when it is not there. */
export function findKubectl(): string | undefined {
  const cache = join(ROOT, "e2e/.cache");
  try {
    const found = readdirSync(cache).filter((name) => /^kubernetes-v1\.34\.[^.]*$/.test(name));
    for (const name of found)
      if (readdirSync(join(cache, name)).includes("kubectl")) return join(cache, name, "kubectl");
  } catch {
    // There is no such directory: said by whoever asks.
  }
  return undefined;
}
