/** Runs nft(8) with a script, in a network namespace. */
import { type ErrorCode, WeftError } from "@weft/base";
import { spawnIn } from "../netns/index.ts";

const SEARCH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin";

/** nft passes the kernel's errors on as strerror(3) has them; all else is what it says of the script itself. */
const CODES: readonly (readonly [RegExp, ErrorCode])[] = [
  [/No such file or directory|does not exist/, "not-found"],
  [/File exists/, "exists"],
  [/Operation not permitted|Permission denied/, "permission"],
  [/Device or resource busy/, "busy"],
  [/Operation not supported|Protocol not supported/, "unsupported"],
  [/Cannot allocate memory|Too many open files in system|No space left/, "exhausted"],
];

/** The typed error of what nft printed: the first message, and the line of the script that it is about. */
export function scriptError(stderr: string, script: string): WeftError {
  const match = /^[^\n]*?:(\d+):(\d+)(?:-\d+)?: Error: ([^\n]*)$/m.exec(stderr);
  const cause = new Error(stderr.trim() || "nft failed and printed nothing");
  if (match === null) {
    const message = stderr.trim().split("\n")[0] ?? "";
    return new WeftError(codeOf(message), `nft: ${message || "failed and printed nothing"}`, { cause });
  }
  const [, line = "", column = "", message = ""] = match;
  const text = (script.split("\n")[Number(line) - 1] ?? "").trim();
  return new WeftError(
    codeOf(message),
    `nft: ${message} in line ${line}, column ${column}: ${text.slice(0, 160)}`,
    {
      object: `line ${line} of the script`,
      hint: "Nothing of the script took effect; check it with nft --check -f.",
      cause,
    },
  );
}

const codeOf = (message: string): ErrorCode =>
  CODES.find(([pattern]) => pattern.test(message))?.[1] ?? "invalid";

/** Runs the script as one transaction in the namespace of `fd`. `path` is where to look for nft. */
export async function runScript(fd: number, script: string, path?: string): Promise<void> {
  const { PATH = "" } = process.env;
  const nft = Bun.which("nft", { PATH: path ?? `${PATH}:${SEARCH}` });
  if (nft === null) {
    throw new WeftError("unsupported", "the program nft is not installed", {
      hint: "apt-get install nftables",
    });
  }
  const child = spawnIn({ fd }, [nft, "-f", "-"], {
    stdin: Buffer.from(script),
    stdout: "ignore",
    stderr: "pipe",
    env: { ...process.env, LC_ALL: "C" },
  });
  const [stderr, status] = await Promise.all([new Response(child.stderr).text(), child.exited]);
  if (status !== 0) throw scriptError(stderr, script);
}
