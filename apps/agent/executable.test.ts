/** The built executable, as a container runtime starts it: nothing in its environment turns it into something else. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { TestNode } from "./testing/node.ts";

setDefaultTimeout(240_000);

let node: TestNode;
let script: string;
let proof: string;
beforeAll(async () => {
  node = new TestNode();
  await node.start();
  script = `${node.root}/evil.ts`;
  proof = `${node.root}/evil-ran`;
  writeFileSync(script, `require("node:fs").writeFileSync(${JSON.stringify(proof)}, "");`);
});
afterAll(() => node.close());

const hostile = (): [string, Record<string, string>][] => [
  ["BUN_BE_BUN", { BUN_BE_BUN: "1" }],
  ["BUN_OPTIONS: preload", { BUN_OPTIONS: `--preload=${script}` }],
  ["BUN_OPTIONS: eval", { BUN_OPTIONS: `--eval require('node:fs').writeFileSync('${proof}','')` }],
  ["BUN_OPTIONS: version", { BUN_OPTIONS: "--version" }],
  ["BUN_INSPECT", { BUN_INSPECT: "127.0.0.1:0" }],
  ["BUN_CONFIG and NODE_OPTIONS", { NODE_OPTIONS: `--require=${script}`, BUN_CONFIG_PRELOAD: script }],
];

test("without the built file's protection they would matter: the runtime itself obeys them", () => {
  const bun = (environment: Record<string, string>, ...argv: string[]): string =>
    Bun.spawnSync([process.execPath, ...argv], { env: environment }).stdout.toString();
  bun({ BUN_OPTIONS: `--preload=${script}` }, "--eval", "1");
  expect(existsSync(proof)).toBe(true);
  rmSync(proof);
});

test.each(hostile().map(([what], i) => [what, i] as const))("%s", async (_, i) => {
  const [, environment] = hostile()[i] as [string, Record<string, string>];
  const pod = await node.add(undefined, { environment });
  pod.sh("ping -c1 -W20 172.30.0.11");
  await node.del(pod, { environment });
  node.removePod(pod);
  expect(existsSync(proof)).toBe(false);
  const version = Bun.spawnSync([node.executable, "--version"], { env: environment, stderr: "pipe" });
  expect(version.stdout.toString().trim()).toBe("0.1.0");
  expect(version.stderr.toString()).toBe("");
});

test("files of the current directory are not read", async () => {
  writeFileSync(`${node.root}/.env`, "CNI_COMMAND=VERSION\nWEFT_FAULT_FILE=/nowhere\n");
  writeFileSync(`${node.root}/bunfig.toml`, `preload = [${JSON.stringify(script)}]\n`);
  const { stdout, exitCode } = Bun.spawnSync([node.executable, "--version"], { cwd: node.root, env: {} });
  expect({ out: stdout.toString().trim(), exitCode }).toEqual({ out: "0.1.0", exitCode: 0 });
  expect(existsSync(proof)).toBe(false);
});

test("an agent has no standard streams to break, and ends with a signal's usual meaning", async () => {
  await node.stop("SIGTERM");
  expect(node.agent?.exitCode).toBe(0);
  await node.start();
});
