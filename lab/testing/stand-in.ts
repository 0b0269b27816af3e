/**
 * A stand-in for the weft executable in the lab's own tests: the real API server and controller, and an agent that is
 * ready at once and writes a configuration for the reference plugins ptp and host-local, which give pods addresses out of their node's
 * ranges. Pods of different nodes do not reach one another with it; that is not what these tests are about.
 */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type ApiClient, createClient, getObject, loadCredentials, NODES } from "@weft/cluster/client";
import type { NodeObject } from "../controllers/objects.ts";
import { runSupervisor } from "../supervisor/index.ts";
import { runEcho } from "../workloads/echo.ts";

/** Where Debian's containernetworking-plugins are. */
export const REFERENCE_PLUGINS = "/usr/lib/cni";

/** The real program, for what needs no stand-in. */
const PROGRAM = join(import.meta.dir, "../../apps/cli/main.ts");

/** Writes the executable and returns its path. Like the real one it looks at the name that it is called by. */
export function writeStandIn(directory: string): string {
  const path = join(directory, "weft");
  writeFileSync(
    path,
    `#!/bin/bash
if [ "\${0##*/}" = weft-loopback ]; then exec ${REFERENCE_PLUGINS}/loopback; fi
if [ -n "$CNI_COMMAND" ]; then
  if [ -e ${directory}/fail-add ] && [ "$CNI_COMMAND" = ADD ]; then
    echo '{"cniVersion":"1.0.0","code":11,"msg":"not now"}'
    exit 1
  fi
  echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_ARGS" >> ${directory}/calls
  CNI_PATH=${REFERENCE_PLUGINS} exec ${REFERENCE_PLUGINS}/ptp
fi
case "$1" in server | controller) exec ${process.execPath} ${PROGRAM} "$@" ;; esac
exec ${process.execPath} ${import.meta.path} ${path} "$@"
`,
  );
  chmodSync(path, 0o755);
  return path;
}

/** As the real agent, it is there before the API server is. */
async function rangesOf(node: string, client: ApiClient): Promise<readonly string[]> {
  for (;;) {
    try {
      const { spec } = await getObject<NodeObject>(client, NODES, { name: node });
      return (spec?.["podCIDRs"] ?? []) as readonly string[];
    } catch {
      await Bun.sleep(20);
    }
  }
}

async function agent(words: readonly string[]): Promise<void> {
  const option = (name: string): string => words[words.indexOf(`--${name}`) + 1] ?? "";
  const root = option("root");
  const node = option("node");
  const client = createClient({ credentials: loadCredentials({ path: option("kubeconfig") }) });
  const ranges = await rangesOf(node, client);
  const conflist = {
    cniVersion: "1.0.0",
    name: "stand-in",
    plugins: [
      {
        type: "weft",
        ipam: {
          type: "host-local",
          dataDir: `${root}/var/lib/ipam`,
          ranges: ranges.map((subnet) => [{ subnet }]),
        },
      },
    ],
  };
  const socket = `${root}/run/weft/agent.sock`;
  mkdirSync(dirname(socket), { recursive: true });
  mkdirSync(`${root}/etc/cni/net.d`, { recursive: true });
  writeFileSync(`${root}/etc/cni/net.d/10-weft.conflist`, JSON.stringify(conflist));
  await Bun.file(socket)
    .unlink()
    .catch(() => {});
  Bun.serve({ unix: socket, fetch: () => Response.json({ ready: true }) });
  await new Promise<void>((resolve) => process.once("SIGTERM", resolve));
}

if (import.meta.main) {
  const [executable = "", command, ...words] = process.argv.slice(2);
  if (command === "agent") await agent(words);
  else if (command === "lab") await runSupervisor(words.at(-1) ?? "", executable);
  else if (command === "workload") await runEcho();
  process.exit(0);
}
