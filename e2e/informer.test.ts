/** A controller of client-go against `weft server`, which is restarted and killed meanwhile. */
import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ownProgram } from "./build/kubernetes.ts";

const program = ownProgram("informer");
if (!existsSync(program)) console.log(`${program} is not built (./e2e/run does it): skipped`);
const MAIN = join(import.meta.dir, "../apps/cli/main.ts");

interface Report {
  readonly error?: string;
  readonly leader: boolean;
  readonly added: number;
  readonly gadgets: number;
}

test.skipIf(!existsSync(program))(
  "informers hold what the server lists, whatever happens to the server",
  async () => {
    const directory = mkdtempSync(join(tmpdir(), "weft-informer-"));
    const data = join(directory, "data");
    const serve = async (port: string) => {
      const command = [process.execPath, MAIN, "server", "--data", data, "--port", port];
      const child = Bun.spawn(command, { stdout: "pipe", stderr: "ignore" });
      await child.stdout.getReader().read();
      return child;
    };
    let server = await serve("0");
    const kubeconfig = join(data, "kubeconfig");
    const port = /server: https:\/\/127\.0\.0\.1:(\d+)/.exec(readFileSync(kubeconfig, "utf8"))?.[1] ?? "";
    const informer = Bun.spawn([program, kubeconfig], { stdin: "pipe", stdout: "pipe", stderr: "ignore" });
    try {
      const reader = informer.stdout.getReader();
      let text = "";
      const report = async (): Promise<Report> => {
        while (!text.includes("\n")) {
          const { value, done } = await reader.read();
          if (done) throw new Error("the controller ended");
          text += Buffer.from(value).toString();
        }
        const line = text.slice(0, text.indexOf("\n"));
        text = text.slice(line.length + 1);
        return JSON.parse(line) as Report;
      };
      expect(await report()).toEqual({ ready: true } as never);
      for (const [round, signal] of (["SIGTERM", "SIGKILL", "SIGKILL", undefined] as const).entries()) {
        informer.stdin.write("\n");
        informer.stdin.flush();
        expect(await report()).toMatchObject({ leader: true, gadgets: 10 * (round + 1) });
        if (signal === undefined) break;
        server.kill(signal);
        await server.exited;
        server = await serve(port);
      }
    } finally {
      informer.kill();
      server.kill();
      await Promise.all([informer.exited, server.exited]);
      rmSync(directory, { recursive: true, force: true });
    }
  },
);
