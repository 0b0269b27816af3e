/** The real kubectl on a lab; the one of the cluster tests, which is built with their Kubernetes. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { CHECKOUT, type Done, HOME, ok, until } from "./weft.ts";

/** Undefined when it is not there: a lab needs none. */
export function findKubectl(): string | undefined {
  const cache = join(CHECKOUT, "e2e/.cache");
  try {
    const found = readdirSync(cache).filter((name) => /^kubernetes-v1\.34\.[^.]*$/.test(name));
    for (const name of found) {
      if (readdirSync(join(cache, name)).includes("kubectl")) return join(cache, name, "kubectl");
    }
  } catch {
    // There is no such directory: said by whoever asks.
  }
  return undefined;
}

export class Kubectl {
  readonly #program: string;
  readonly #kubeconfig: () => string;

  constructor(program: string, kubeconfig: () => string) {
    this.#program = program;
    this.#kubeconfig = kubeconfig;
  }

  /** Words are split at spaces; `input` is its standard input. */
  async run(words: string | readonly string[], input?: string): Promise<Done> {
    const started = performance.now();
    const list = typeof words === "string" ? words.split(" ") : words;
    const child = Bun.spawn([this.#program, "--kubeconfig", this.#kubeconfig(), ...list], {
      stdin: input === undefined ? "ignore" : Buffer.from(input),
      stdout: "pipe",
      stderr: "pipe",
      env: { HOME, PATH: process.env["PATH"] ?? "", KUBECACHEDIR: join(HOME, "kube-cache") },
      timeout: 100_000,
      killSignal: "SIGKILL",
    });
    const [stdout, stderr] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
    ]);
    await child.exited;
    return { code: child.exitCode ?? -1, stdout, stderr, ms: performance.now() - started };
  }

  /** The output of what must succeed. */
  async ok(words: string | readonly string[], input?: string): Promise<string> {
    return ok(await this.run(words, input), `kubectl ${typeof words === "string" ? words : words.join(" ")}`);
  }

  async json<T>(words: string): Promise<T> {
    return JSON.parse(await this.ok(`${words} -o json`)) as T;
  }

  /** Output that satisfies, asked for again and again. */
  until(what: string, words: string, test: (text: string) => boolean, ms = 60_000): Promise<string> {
    let last = "";
    return until(
      what,
      ms,
      async () => {
        const { stdout, stderr } = await this.run(words);
        last = stdout + stderr;
        return test(stdout) && (stdout || " ");
      },
      () => last,
      200,
    );
  }
}
