import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isNotFound, isTimeout, systemClock } from "@weft/base";
import { CniError } from "../errors.ts";
import { PluginExecutionError } from "./errors.ts";
import { execute } from "./execute.ts";
import { findPlugin } from "./find.ts";
import { createRuntime } from "./runtime.ts";
import { spawnProcess } from "./spawn.ts";
import { PluginDirectory } from "./testing/plugins.ts";

let directory: PluginDirectory;
beforeAll(() => {
  directory = new PluginDirectory();
});
afterAll(() => directory.remove());

const run = (file: string, timeoutMs = 10_000, stdin = "{}") =>
  execute(
    {
      file,
      plugin: "p",
      command: "ADD",
      environment: { PATH: "/usr/bin:/bin" },
      stdin: Buffer.from(stdin),
      timeoutMs,
    },
    { spawn: spawnProcess, clock: systemClock },
  );

const failureOf = async (promise: Promise<unknown>): Promise<PluginExecutionError> => {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (error instanceof PluginExecutionError) return error;
  throw new Error(`expected a PluginExecutionError, not ${error}`);
};

test("output, and nothing but output, of a plugin that succeeds", async () => {
  expect(await run(directory.script("ok", "cat; echo noise >&2"), 10_000, '{"a":1}')).toBe('{"a":1}');
});

test("input that the plugin never reads, and output larger than a pipe", async () => {
  const file = directory.script("large", "head -c 300000 /dev/zero | tr '\\0' x");
  expect(await run(file, 10_000, "y".repeat(1_000_000))).toBe("x".repeat(300_000));
});

test("the plugin's own error", async () => {
  const file = directory.script(
    "fails",
    `echo '{"code":7,"msg":"bad subnet","details":"too small"}'; exit 1`,
  );
  const error = await run(file).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(CniError);
  expect(error).toMatchObject({ cniCode: 7, details: "too small", object: "plugin p (ADD)" });
});

test("exit code without an error", async () => {
  const error = await failureOf(run(directory.script("silent", "echo oh; echo no >&2; exit 3")));
  expect(error.failure).toBe("exit");
  expect(error.message).toContain("exit code 3");
  expect(error.message).toContain("it wrote: no");
});

test("killed by a signal", async () => {
  const error = await failureOf(run(directory.script("dies", "kill -9 $$")));
  expect(error).toMatchObject({ failure: "killed", plugin: "p" });
  expect(error.message).toContain("SIGKILL");
});

test("a plugin that hangs is killed, and so is waiting for what it left behind", async () => {
  const pid = join(directory.root, "pid");
  // The grandchild keeps the output open; it ends by itself.
  const error = await failureOf(
    run(directory.script("hangs", `echo $$ > ${pid}; sleep 15; echo never`), 3000),
  );
  expect(error.failure).toBe("timeout");
  expect(isTimeout(error)).toBe(true);
  expect(existsSync(`/proc/${(await Bun.file(pid).text()).trim()}`)).toBe(false);
});

test("files that cannot be run", async () => {
  expect((await failureOf(run(join(directory.bin, "absent")))).failure).toBe("absent");
  const garbage = join(directory.bin, "garbage");
  writeFileSync(garbage, "no program");
  chmodSync(garbage, 0o755);
  expect((await failureOf(run(garbage))).failure).toBe("not-executable");
});

test("ADD that prints no result", async () => {
  for (const [name, body] of [
    ["empty", "true"],
    ["prose", "echo all is well"],
    ["wrong", `echo '{"cniVersion":"1.0.0","ips":[{"address":"x"}]}'`],
  ] as const) {
    directory.script(name, body);
    const runtime = createRuntime({ path: [directory.bin], cacheDirectory: directory.cache });
    const list = {
      cniVersion: "1.0.0",
      cniVersions: ["1.0.0"],
      name: "n",
      disableCheck: false,
      disableGC: false,
      loadOnlyInlinedPlugins: true,
      plugins: [{ type: name }],
    };
    const error = await failureOf(runtime.add(list, { containerId: "c", interfaceName: "eth0" }));
    expect(error.failure).toBe("output");
    expect(error.object).toBe(`plugin ${name} (ADD)`);
  }
});

test("finding executables", () => {
  const found = directory.script("here", "true");
  expect(findPlugin("here", ["/nowhere", directory.root, directory.bin])).toBe(found);
  writeFileSync(join(directory.bin, "data"), "");
  const failure = (type: string) => {
    try {
      findPlugin(type, [directory.bin]);
    } catch (error) {
      return error as PluginExecutionError;
    }
    return undefined;
  };
  expect(failure("data")?.failure).toBe("not-executable");
  expect(failure("none")?.failure).toBe("absent");
  expect(isNotFound(failure("none"))).toBe(true);
  expect(failure("../bin/here")).toBeInstanceOf(CniError);
});
