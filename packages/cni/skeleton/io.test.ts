/** The real input and output, in processes of their own. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PluginDirectory } from "../runtime/testing/plugins.ts";
import { processIo } from "./io.ts";
import { STDIN_LIMIT } from "./run.ts";

let directory: PluginDirectory;
let noop: string;
beforeAll(() => {
  directory = new PluginDirectory();
  noop = directory.noop("noop");
});
afterAll(() => directory.remove());

/** Runs a shell command line with $P as the plugin and $F as a file with the configuration. */
function shell(line: string, command: string, configuration: string) {
  const file = join(directory.root, "configuration");
  writeFileSync(file, configuration);
  const { exitCode, stdout } = Bun.spawnSync(["/bin/sh", "-c", line], {
    env: {
      PATH: "/usr/bin:/bin",
      P: noop,
      F: file,
      CNI_COMMAND: command,
      CNI_CONTAINERID: "c",
      CNI_NETNS: "/run/netns/weft-absent",
      CNI_IFNAME: "eth0",
    },
    stdin: "ignore",
  });
  return { exitCode, json: JSON.parse(stdout.toString()) as Record<string, unknown> };
}

const interfaces = Array.from({ length: 4000 }, (_, i) => ({
  name: `interface${i}`,
  mac: "02:00:00:00:00:01",
}));
const configuration = (): string =>
  JSON.stringify({
    cniVersion: "1.0.0",
    name: "net",
    type: "noop",
    record: directory.record,
    prevResult: { cniVersion: "1.0.0", interfaces },
  });

describe("a plugin's process", () => {
  test("reads more than a pipe holds and prints more than a pipe holds", () => {
    const { exitCode, json } = shell(
      "cat $F | (sleep 0.1; exec $P) | (sleep 0.2; cat)",
      "ADD",
      configuration(),
    );
    expect(exitCode).toBe(0);
    expect((json["interfaces"] as unknown[]).length).toBe(4001);
  });

  test.skipIf(!existsSync("/usr/bin/perl"))("copes with nonblocking descriptors", () => {
    const perl = `perl -MFcntl -e 'fcntl($_, F_SETFL, fcntl($_, F_GETFL, 0) | O_NONBLOCK) for STDIN, STDOUT; exec @ARGV' $P`;
    const line = `(sleep 0.2; cat $F) | ${perl} | (sleep 0.2; cat)`;
    expect((shell(line, "ADD", configuration()).json["interfaces"] as unknown[]).length).toBe(4001);
  });

  test("a closed standard input is an empty one: the runtime opens /dev/null in its place", () => {
    expect(shell("$P <&-", "ADD", "")).toMatchObject({ exitCode: 1, json: { code: 6 } });
  });

  test("a directory for standard input is error 5", () => {
    expect(shell("$P </", "ADD", "")).toMatchObject({ exitCode: 1, json: { code: 5 } });
  });

  test("too much input is error 5", () => {
    const line = `head -c ${STDIN_LIMIT + 10} /dev/zero | $P; true`;
    expect(shell(line, "ADD", "").json["code"]).toBe(5);
  });

  test("VERSION needs no input", () => {
    expect(shell("$P </dev/null", "VERSION", "").json).toMatchObject({ cniVersion: "1.1.0" });
  });
});

test("namespaces have identities", () => {
  const io = processIo();
  expect(io.namespaceIdentity("self")).toBe(io.namespaceIdentity("/proc/self/ns/net"));
  expect(io.namespaceIdentity("/run/netns/weft-absent")).toBeUndefined();
});
