/**
 * A plugin for tests of runtimes. It touches nothing: it appends what it was given to the file named by the key
 * `record` of its configuration, adds an interface of its own name to the result, and fails a command with the code
 * that `fail` says for it.
 */
import { appendFileSync } from "node:fs";
import {
  CNI_VERSIONS,
  CniError,
  type CniVersion,
  EMPTY_RESULT,
  type NetworkConfiguration,
  type Plugin,
  processIo,
  runPlugin,
} from "../../index.ts";

const io = processIo();
const { CNI_COMMAND: command = "", NOOP_VERSIONS } = io.environment;

function record({ configuration }: { readonly configuration: NetworkConfiguration }): void {
  const { record: file, fail } = configuration;
  const environment = Object.fromEntries(
    Object.entries(io.environment).filter(([k]) => k.startsWith("CNI_")),
  );
  appendFileSync(String(file), `${JSON.stringify({ command, environment, configuration })}\n`);
  const code = (fail as Record<string, number> | undefined)?.[command];
  if (code !== undefined) throw new CniError(code, `told to fail ${command}`);
}

const plugin: Plugin = {
  name: "noop",
  about: "a plugin for tests",
  versions: NOOP_VERSIONS === undefined ? CNI_VERSIONS : (NOOP_VERSIONS.split(",") as CniVersion[]),
  add(request) {
    record(request);
    const before = request.previousResult ?? EMPTY_RESULT;
    return { ...before, interfaces: [...before.interfaces, { name: request.configuration.type }] };
  },
  del: record,
  check: record,
  gc: record,
  status: record,
};

process.exitCode = await runPlugin(plugin, io);
