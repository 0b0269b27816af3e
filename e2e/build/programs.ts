/** Everything that the machines run, made once and kept: PROGRAMS with the executables, and the images' archives. */
import { createHash } from "node:crypto";
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { WeftError } from "@weft/base";
import { run } from "../command.ts";
import { archiveImage, imageSources, WEFT_IMAGE } from "../images/images.ts";
import { CACHE, PROGRAMS, WEFT } from "../paths.ts";
import { step } from "../progress.ts";
import { unpackDebian } from "./debian.ts";
import { buildKubernetes, buildWorkload } from "./kubernetes.ts";

export interface Programs {
  /** Static: runs a command inside of a machine. */
  readonly enter: string;
  /** Static: a machine's first process. */
  readonly pause: string;
  /** Archives for `ctr images import`. */
  readonly images: readonly string[];
  /** Archive of Weft's image, as WEFT_IMAGE. */
  readonly weftImage: string;
}

/** In this order: /usr/bin has a link into /usr/sbin. */
const FROM_DEBIAN = ["usr/sbin", "usr/bin"];

export async function buildPrograms(): Promise<Programs> {
  mkdirSync(CACHE, { recursive: true });
  const kubernetes = await buildKubernetes();
  const netexec = await buildWorkload();
  const debian = await unpackDebian();
  const pause = await compileStatic(join(import.meta.dir, "../images/pause.c"));
  const enter = await compileStatic(join(import.meta.dir, "../machines/enter.c"));
  if (!existsSync(WEFT)) throw new WeftError("not-found", `${WEFT} is not built`, { hint: "Run ./e2e/run." });
  collect([kubernetes, ...FROM_DEBIAN.map((d) => join(debian, d))], [netexec, WEFT]);
  const busybox = join(debian, "bin/busybox");
  const images: string[] = [];
  for (const source of imageSources({ pause, netexec, busybox }))
    images.push(await archiveImage(source, CACHE));
  return { enter, pause, images, weftImage: await archiveWeft(WEFT, WEFT_IMAGE) };
}

/** Has an executable of Weft write its image, as a user would. */
export async function archiveWeft(executable: string, name: string): Promise<string> {
  const archive = join(CACHE, `${basename(name).replace(":", "-")}.tar`);
  await run([executable, "image", "--output", archive, "--name", name]);
  return archive;
}

/** Hard links: no copy, and a bind of one directory shows them all. */
function collect(directories: readonly string[], files: readonly string[]): void {
  rmSync(PROGRAMS, { recursive: true, force: true });
  mkdirSync(PROGRAMS);
  const all = directories.flatMap((directory) => readdirSync(directory).map((name) => join(directory, name)));
  for (const file of [...all, ...files]) {
    const link = join(PROGRAMS, basename(file));
    if (!existsSync(link)) linkSync(file, link);
  }
}

async function compileStatic(source: string): Promise<string> {
  const digest = createHash("sha256").update(readFileSync(source)).digest("hex").slice(0, 8);
  const output = join(CACHE, `${source.slice(source.lastIndexOf("/") + 1, -2)}-${digest}`);
  if (!existsSync(output)) {
    await step(`compiling ${source.slice(source.lastIndexOf("/") + 1)}`, () =>
      run(["gcc", "-std=gnu17", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", output, source]),
    );
  }
  return output;
}
