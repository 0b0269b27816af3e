/** The shared libraries that programs load, as the dynamic linker of this machine finds them (ldd(1)). */
import { WeftError } from "@weft/base";

/**
 * Paths of the shared libraries of these programs, the dynamic linker among them, in order, each once. A static
 * program has none. Throws "not-found" for a library that is missing here, "unsupported" without ldd.
 */
export function sharedLibraries(programs: readonly string[]): string[] {
  const found = new Set<string>();
  for (const program of programs) {
    for (const path of parseLdd(ldd(program), program)) found.add(path);
  }
  return [...found].sort();
}

function ldd(program: string): string {
  if (Bun.which("ldd") === null) {
    throw new WeftError("unsupported", "the program ldd is not installed", {
      hint: "apt-get install libc-bin",
    });
  }
  const { exitCode, stdout, stderr } = Bun.spawnSync(["ldd", program], { stdout: "pipe", stderr: "pipe" });
  const said = `${stdout.toString()}${stderr.toString()}`;
  if (exitCode === 0 || /not a dynamic executable|statically linked/.test(said)) return said;
  throw new WeftError("invalid", `ldd: ${said.trim()}`, { object: program });
}

/** What ldd prints: "NAME => PATH (ADDRESS)", or "PATH (ADDRESS)" of the linker; the vDSO has no file. */
export function parseLdd(text: string, program: string): string[] {
  return text.split("\n").flatMap((line) => {
    const missing = /^\s*(\S+) => not found/.exec(line);
    if (missing !== null) {
      throw new WeftError("not-found", `the library ${missing[1]} is not on this machine`, {
        object: program,
        hint: "Install the package that it is in.",
      });
    }
    const path = /^\s*(?:\S+ => )?(\/\S+) \(0x[0-9a-f]+\)$/.exec(line)?.[1];
    return path === undefined ? [] : [path];
  });
}
