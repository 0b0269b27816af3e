import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/**
 * A machine of stand-ins: ./weft and its set-up see only the commands in `bin`. apt-get "installs" by moving
 * commands there, npm makes a node_modules, in which Bun is a copy of bash: told to "run scripts/build.ts" it runs
 * the script `run`, which "builds" a dist/weft that tells its words. Each writes what it was called with to `calls`.
 */
const TOOLS =
  "bash cat chown cut df dirname env find flock grep head mkdir mktemp readlink rm sed rmdir setpriv sh sleep stat tail touch uname unshare wc";
const OWNER = 65534;

const STANDINS: Record<string, string> = {
  "dpkg-query": "exit 1",
  dpkg: "",
  node: 'cp --remove-destination "$(command -v bash)" node_modules/.bin/bun',
  nft: "",
  ip: "",
  ping: "",
  tcc: "",
  "apt-get": `
    [ "$1" = install ] || exit 0
    [ "$DEBIAN_FRONTEND" = noninteractive ] || exit 9
    for name in node npm nft ip ping tcc; do cp "$WEFT_T/shelf/$name" "$WEFT_T/bin/$name"; done`,
  npm: `
    mkdir -p node_modules/.bin node_modules/bun
    for native in @oven/bun @koromix/koffi @biomejs/cli @typescript/typescript; do
      mkdir -p node_modules/$native-linux-x64
    done
    echo placeholder > node_modules/.bin/bun
    touch node_modules/.package-lock.json`,
  run: 'cp "$WEFT_T/shelf/built" dist/weft',
  built: 'echo "weft $* in $PWD"',
};

let base: string;
let home: string;

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), "weft-t-setup-"));
  chmodSync(base, 0o755);
  home = join(base, "a checkout", "weft");
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

beforeEach(() => {
  for (const directory of ["bin", "shelf", "tmp", "home"]) mkdirSync(join(base, directory));
  chmodSync(join(base, "tmp"), 0o777);
  for (const tool of [...TOOLS.split(" "), "cp"])
    symlinkSync(Bun.which(tool) as string, join(base, "bin", tool));
  for (const [name, text] of Object.entries(STANDINS)) standIn(name, text, "shelf");
  for (const name of ["apt-get", "dpkg-query", "dpkg"]) standIn(name, STANDINS[name] as string);
  writeFileSync(join(base, "calls"), "", { mode: 0o666 });
  chmodSync(join(base, "calls"), 0o666);
  mkdirSync(join(home, "scripts"), { recursive: true });
  for (const file of ["weft", "scripts/setup.sh"])
    cpSync(join(import.meta.dir, "..", file), join(home, file));
  writeFileSync(join(home, "package-lock.json"), "{}");
  writeFileSync(join(home, "source.ts"), "");
  cpSync(join(base, "shelf/run"), join(home, "run"));
});
afterEach(() => {
  for (const name of readdirSync(base)) rmSync(join(base, name), { recursive: true, force: true });
});

function standIn(name: string, text: string, where = "bin"): void {
  const told = name === "built" || name === "dpkg-query" ? "" : `echo "${name} $*" >> "$WEFT_T/calls"\n`;
  const path = join(base, where, name);
  rmSync(path, { force: true });
  writeFileSync(path, `#!/bin/bash\n${told}${text}\n`, { mode: 0o755 });
}

const environment = (): Record<string, string> => ({
  // The launcher adds /usr/sbin: so nft and ip are there from the start, and a stand-in comes before them.
  PATH: join(base, "bin"),
  HOME: join(base, "home"),
  TMPDIR: join(base, "tmp"),
  WEFT_T: base,
  WEFT_APT_WAIT_SECONDS: "0",
});

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function weft(words: readonly string[], { cwd = home, command = [join(home, "weft")] } = {}): Result {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command, ...words], {
    cwd,
    env: environment(),
    stdin: "ignore",
  });
  // Nothing stays in the directory for temporary files.
  expect(readdirSync(join(base, "tmp"))).toEqual([]);
  return { code: exitCode, out: stdout.toString(), err: stderr.toString() };
}

const calls = (): string[] => readFileSync(join(base, "calls"), "utf8").split("\n").slice(0, -1);
const timeless = (text: string): string => text.replace(/[0-9]+\.[0-9] s$/gm, "T s");
const lastLine = (text: string): string => text.trimEnd().split("\n").at(-1) as string;

function setUp(): void {
  expect(weft(["status"]).code).toBe(0);
  writeFileSync(join(base, "calls"), "");
}

describe("a fresh checkout", () => {
  test("does each step once, says so, and runs what was asked", () => {
    const first = weft(["lab", "up", "--name", "two words"], { cwd: base });
    expect(first.out).toBe(`weft lab up --name two words in ${base}\n`);
    expect(timeless(first.err)).toBe(
      "weft: installing Debian's packages nodejs npm iputils-ping tcc ... T s\n" +
        "weft: installing npm's packages ... T s\nweft: building dist/weft ... T s\n",
    );
    expect(calls().map((call) => call.split(" ").slice(0, 2).join(" "))).toEqual([
      "apt-get update",
      "apt-get install",
      "npm install",
      "node node_modules/bun/install.js",
      "run scripts/build.ts",
      "nft list",
    ]);
    writeFileSync(join(base, "calls"), "");
    expect(weft(["status"])).toEqual({ code: 0, out: `weft status in ${home}\n`, err: "" });
    expect(calls()).toEqual(["nft list tables"]);
  });

  test("through a symbolic link", () => {
    const link = join(base, "link");
    symlinkSync(join(home, "weft"), link);
    expect(weft(["status"], { cwd: base, command: [link] }).out).toBe(`weft status in ${base}\n`);
  });

  test("two at once: one sets up, the other waits", async () => {
    standIn("npm", `while [ ! -e "$WEFT_T/go" ]; do sleep 0.05; done\n${STANDINS["npm"]}`, "shelf");
    const start = () =>
      Bun.spawn([join(home, "weft"), "status"], { env: environment(), stdout: "pipe", stderr: "pipe" });
    const first = start();
    while (!calls().some((call) => call.startsWith("npm"))) await Bun.sleep(10);
    const second = start();
    let said = "";
    const decoder = new TextDecoder();
    for await (const bytes of second.stderr) {
      said += decoder.decode(bytes, { stream: true });
      // The first one is in the middle of it until the second has had to wait.
      if (said.includes("waiting")) writeFileSync(join(base, "go"), "");
    }
    expect(await Promise.all([first, second].map((child) => child.exited))).toEqual([0, 0]);
    expect(said).toBe("weft: waiting for another set-up of this checkout to end\n");
    expect(calls().filter((call) => /^(npm|apt-get install|run)/.test(call))).toHaveLength(3);
  });

  test("completion does not set up, and says what does", () => {
    const { code, out, err } = weft(["completion", "bash"]);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toBe(
      `weft: this checkout is not set up yet: run once as root: ${join(home, "weft")} --version\n`,
    );
    expect(calls()).toEqual([]);
  });
});

describe("what is done already", () => {
  beforeEach(setUp);
  const future = new Date(Date.now() + 86_400_000);
  const stepsAfter = (change: () => void): string[] => {
    change();
    const { code, err } = weft(["status"]);
    expect(code).toBe(0);
    return timeless(err)
      .split("\n")
      .slice(0, -1)
      .map((line) => line.replace("weft: ", "").replace(" ... T s", ""));
  };

  test("a changed source is built again", () => {
    expect(stepsAfter(() => utimesSync(join(home, "source.ts"), future, future))).toEqual([
      "building dist/weft",
    ]);
  });

  test("a removed source is built again", () => {
    mkdirSync(join(home, "packages"));
    expect(stepsAfter(() => utimesSync(join(home, "packages"), future, future))).toEqual([
      "building dist/weft",
    ]);
  });

  test("a changed test, text or repository is not", () => {
    const change = (): void => {
      for (const file of ["a.test.ts", "README.md", ".git/index", "node_modules/x.ts"]) {
        mkdirSync(dirname(join(home, file)), { recursive: true });
        writeFileSync(join(home, file), "");
        utimesSync(join(home, file), future, future);
      }
    };
    expect(stepsAfter(change)).toEqual([]);
  });

  test("a changed lock file is installed and built again", () => {
    const past = new Date(Date.now() - 60_000);
    const change = (): void => utimesSync(join(home, "node_modules/.package-lock.json"), past, past);
    utimesSync(join(home, "package-lock.json"), past, past);
    expect(stepsAfter(change)).toEqual(["installing npm's packages"]);
  });

  test("packages that are gone are installed again", () => {
    const change = (): void => rmSync(join(home, "node_modules"), { recursive: true });
    expect(stepsAfter(change)).toEqual(["installing npm's packages"]);
  });

  test("help and completion need no root", () => {
    const command = ["setpriv", "--reuid", `${OWNER}`, "--clear-groups", join(home, "weft")];
    for (const words of [[], ["--help"], ["--version"], ["completion", "bash"]]) {
      expect(weft(words, { command, cwd: base }).out).toBe(`weft ${words.join(" ")} in ${base}\n`);
    }
  });
});

describe("what stops it", () => {
  const fails = (words: readonly string[] = ["status"], how: Parameters<typeof weft>[1] = {}): string => {
    const { code, out, err } = weft(words, how);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    return err;
  };

  test("no root", () => {
    const command = ["setpriv", "--reuid", `${OWNER}`, "--clear-groups", join(home, "weft")];
    expect(fails(["lab", "up"], { command })).toBe("weft: this needs root: run it with sudo, or as root.\n");
  });

  test.each([
    ["Linux 5.10.0-30-amd64", "this kernel is 5.10.0-30-amd64: Weft needs Linux 5.13 or later"],
    ["Linux 4.19+", "this kernel is 4.19+"],
    ["Darwin 24.1.0", "this is Darwin"],
  ])("%s", (uname, said) => {
    standIn("uname", `echo ${uname}`);
    expect(fails()).toStartWith(`weft: ${said}`);
    expect(calls()).toEqual(["uname -sr"]);
  });

  test.each(["Linux 5.13", "Linux 5.15-rc1", "Linux 6.1.0-37-amd64", "Linux 7.0+"])("not %s", (uname) => {
    standIn("uname", `echo ${uname}`);
    expect(weft(["status"]).code).toBe(0);
  });

  test("no nftables in the kernel", () => {
    standIn("nft", "echo 'Error: cache initialization failed: Protocol not supported' >&2; exit 1", "shelf");
    expect(lastLine(fails())).toBe(
      "weft: nftables does not work here (Error: cache initialization failed: Protocol not supported): " +
        "load the kernel module nf_tables, and in a container grant CAP_NET_ADMIN.",
    );
  });

  test("no apt-get", () => {
    rmSync(join(base, "bin/apt-get"));
    expect(fails()).toBe(
      "weft: there is no apt-get here: install these by hand: nodejs npm iputils-ping tcc\n",
    );
  });

  test.each([
    [
      "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt)",
      "wait for it to end",
    ],
    ["Err:1 Temporary failure resolving 'mirror.example'", "Debian's mirror cannot be reached"],
    ["E: Unable to locate package nodejs", "add Debian's section main"],
    ["E: You don't have enough free space in /var/cache/apt/archives/.", "the disk is full"],
    ["E: something else", "the last lines of its output are above"],
  ])("apt: %s", (output, said) => {
    standIn("apt-get", `[ "$1" = update ] || { echo "${output}"; exit 100; }`);
    const err = fails();
    expect(err).toContain(`failed\n${output}\n`);
    expect(lastLine(err)).toStartWith("weft: installing Debian's packages nodejs");
    expect(lastLine(err)).toContain(said);
  });

  test.each([
    ["npm ERR! code EAI_AGAIN", "npm's registry cannot be reached"],
    ["npm ERR! code UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "npm's option cafile"],
    ["npm ERR! code ENOSPC", "the disk is full"],
  ])("npm: %s", (output, said) => {
    standIn("npm", `echo "${output}"; exit 1`, "shelf");
    expect(lastLine(fails())).toContain(`installing npm's packages failed: `);
    expect(lastLine(weft(["status"]).err)).toContain(said);
    standIn("npm", STANDINS["npm"] as string);
    expect(weft(["status"]).code).toBe(0);
  });

  test("npm leaves out a package that it could not fetch", () => {
    standIn("npm", `${STANDINS["npm"]}\nrmdir node_modules/@koromix/*`, "shelf");
    const err = fails();
    expect(err).toContain("npm has left out @koromix/koffi-linux-*\n");
    expect(lastLine(err)).toStartWith("weft: installing npm's packages failed: ");
    expect(lastLine(fails())).toBe(lastLine(err));
  });

  test("a read-only checkout", () => {
    // Root may write everywhere but on a read-only mount, which lasts as long as this command's namespace.
    const script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$1/weft" status';
    const command = ["unshare", "--mount", "sh", "-c", `PATH=$PATH:/usr/bin; ${script}`, "sh", home];
    expect(lastLine(fails([], { command }))).toBe(
      `weft: ${home} is read-only: clone it to where it can be written.`,
    );
    expect(weft(["status"]).code).toBe(0);
    expect(weft([], { command, cwd: base }).out).toBe(`weft status in ${base}\n`);
  });

  test("no place for temporary files", () => {
    rmSync(join(base, "tmp"), { recursive: true });
    const { stderr } = Bun.spawnSync([join(home, "weft"), "status"], { env: environment() });
    expect(stderr.toString()).toContain("no temporary file can be made in");
  });
});

describe("what it gets over", () => {
  test("package lists that cannot be read", () => {
    standIn("apt-get", `[ "$1" = install ] || exit 100\n${STANDINS["apt-get"]}`);
    expect(weft(["status"]).code).toBe(0);
  });

  test("apt's lock, when it is let go", () => {
    standIn(
      "apt-get",
      `if [ ! -e "$WEFT_T/tried" ]; then touch "$WEFT_T/tried"; echo "E: Could not get lock"; exit 100; fi\n` +
        STANDINS["apt-get"],
    );
    const { exitCode, stderr } = Bun.spawnSync([join(home, "weft"), "status"], {
      env: { ...environment(), WEFT_APT_WAIT_SECONDS: "100" },
    });
    expect(stderr.toString()).toContain("... waiting for another program that installs packages ... ");
    expect(exitCode).toBe(0);
  });

  test("an installation that was interrupted", () => {
    standIn(
      "apt-get",
      `[ "$1" = update ] || [ -e "$WEFT_T/configured" ] || { echo "E: dpkg was interrupted"; exit 100; }\n` +
        STANDINS["apt-get"],
    );
    standIn("dpkg", 'touch "$WEFT_T/configured"');
    expect(weft(["status"]).code).toBe(0);
    expect(calls()).toContain("dpkg --configure -a");
  });

  test.each(["SIGINT", "SIGTERM"] as const)("%s in the middle of npm ci", async (signal) => {
    standIn("npm", "mkdir -p node_modules/half\nexec sleep 60", "shelf");
    chownSync(home, OWNER, OWNER);
    // Whoever started the tests in the background has made them ignore SIGINT, and a shell cannot undo that.
    const env = Bun.which("env") as string;
    const child = Bun.spawn([env, "--default-signal=INT,TERM", join(home, "weft"), "status"], {
      env: environment(),
      stderr: "pipe",
      detached: true,
    });
    while (!existsSync(join(home, "node_modules/half"))) await Bun.sleep(10);
    process.kill(-child.pid, signal);
    expect(await child.exited).not.toBe(0);
    expect(await child.stderr.text()).toEndWith("installing npm's packages ... interrupted\n");
    expect(statSync(join(home, "node_modules/half")).uid).toBe(OWNER);
    standIn("npm", STANDINS["npm"] as string);
    expect(weft(["status"]).code).toBe(0);
  });
});

test("in somebody else's checkout all files become theirs, and nothing is left in their home", () => {
  chownSync(home, OWNER, OWNER);
  chownSync(join(base, "home"), OWNER, OWNER);
  standIn("npm", `${STANDINS["npm"]}\necho "$HOME $NPM_CONFIG_USERCONFIG" > node_modules/said`, "shelf");
  expect(weft(["status"]).code).toBe(0);
  for (const path of ["node_modules", "node_modules/.bin/bun", "dist", "dist/weft"]) {
    const { uid, gid } = statSync(join(home, path));
    expect({ path, uid, gid }).toEqual({ path, uid: OWNER, gid: OWNER });
  }
  expect(readFileSync(join(home, "node_modules/said"), "utf8")).toBe(`/root ${join(base, "home")}/.npmrc\n`);
});
