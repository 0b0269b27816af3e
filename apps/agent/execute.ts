/**
 * The plugin inside of the agent: its shim hands over environment and input, and gets exit code and output. The
 * plugin's code is the same as in a process of its own; only its way to the agent is shorter.
 */

import { CniError, type PluginIo, processIo, runPlugin } from "@weft/cni";
import { createWeftPlugin, type Execution } from "@weft/plugin-weft";
import type { Handler } from "./server.ts";

/** Exit code, newline, standard output. */
export async function execute(
  { environment, stdin }: Execution,
  routes: Readonly<Record<string, Handler>>,
  signal: AbortSignal,
): Promise<string> {
  const ask = async <T>(_socket: string, path: string, body: unknown): Promise<T> => {
    const handler = routes[`POST ${path}`];
    if (handler === undefined) throw new CniError(999, `no such call: ${path}`);
    return (await handler(body, signal)) as T;
  };
  let output = "";
  const io: PluginIo = {
    ...processIo(),
    environment,
    readStdin: () => stdin,
    writeStdout(text) {
      output += text;
    },
    writeStderr() {},
  };
  const code = await runPlugin(createWeftPlugin(ask), io);
  return `${code}\n${output}`;
}
