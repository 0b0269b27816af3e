/**
 * Builds dist/weft: one executable with everything in it. Run by Bun:
 * `bun run scripts/build.ts [FILE] [VERSION]`; VERSION is what it says of itself, the agent's package.json by default.
 *
 * The runtime inside reads BUN_OPTIONS and BUN_BE_BUN from the environment before any of our code runs: the
 * first adds options, the second turns the executable into `bun` itself. A CNI plugin inherits the environment
 * of a container runtime, and a privileged one must not be turned into an interpreter by a variable. So the
 * names are changed in the built file, to names that no environment can be expected to have (their first letter
 * becomes a control character); so is BUN_INSPECT, which would open a debugger's port.
 *
 * The file's time is that of the start: a source that changed during the build is newer than it.
 */
import { readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";

const OUT = process.argv[2] ?? "dist/weft";
const VERSION = process.argv[3];
const HIDDEN = ["BUN_OPTIONS", "BUN_BE_BUN", "BUN_INSPECT"];
const started = new Date();

const build = Bun.spawnSync(
  [
    process.execPath,
    "build",
    "--compile",
    "--minify",
    "--bytecode",
    "--format=esm",
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    // A plugin lives some milliseconds: what it does not use must not be read.
    "--splitting",
    ...(VERSION === undefined ? [] : ["--define", `BUILD_VERSION=${JSON.stringify(VERSION)}`]),
    // The workers are found beside the entry, as their sources stand beside the ones that start them.
    "--root=apps/agent",
    "apps/cli/main.ts",
    "apps/agent/cluster-thread.ts",
    "apps/agent/services-thread.ts",
    "--outfile",
    `${OUT}.new`,
  ],
  { stdout: "pipe", stderr: "pipe" },
);
if (!build.success) {
  process.stderr.write(build.stdout);
  process.stderr.write(build.stderr);
  process.exit(1);
}

const file = readFileSync(`${OUT}.new`);
for (const name of HIDDEN) {
  let found = 0;
  for (let at = file.indexOf(name); at >= 0; at = file.indexOf(name, at + 1)) {
    file[at] = 1;
    found++;
  }
  if (found === 0) {
    process.stderr.write(`build: the runtime does not mention ${name}: find out how it reads it now\n`);
    process.exit(1);
  }
}
writeFileSync(`${OUT}.new`, file, { mode: 0o755 });
utimesSync(`${OUT}.new`, started, started);
renameSync(`${OUT}.new`, OUT);

/**
 * The plugin's shim, beside the executable: compiled when there is a C compiler, and only then in place of the
 * executable as the plugin (plugins/weft/shim/shim.c says what it does).
 */
const SHIM = `${OUT}-cni`;
const FREESTANDING = ["-nostdlib", "-static", "-o", `${SHIM}.new`, "plugins/weft/shim/shim.c"];
const compilers = [["tcc"], ["cc", "-O2", "-ffreestanding", "-fno-builtin", "-fno-stack-protector"]];
const compiler = compilers.find(([name]) => Bun.which(name as string) !== null);
if (compiler === undefined) {
  rmSync(SHIM, { force: true });
} else {
  const compiled = Bun.spawnSync([...compiler, ...FREESTANDING], { stdout: "inherit", stderr: "inherit" });
  if (!compiled.success) process.exit(1);
  renameSync(`${SHIM}.new`, SHIM);
}
