/**
 * The images of the test pods without a registry: docker-archive tars (`docker save`'s format: manifest.json, a
 * configuration and layers) of one layer each, for `ctr images import`.
 *
 *   weft.network/e2e/pause:1      the static program pause.c
 *   weft.network/e2e/workload:1   netexec, and busybox as /bin/sh (Debian's prefers its own applets)
 */
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { run } from "../command.ts";

export const PAUSE_IMAGE = "weft.network/e2e/pause:1";
export const WORKLOAD_IMAGE = "weft.network/e2e/workload:1";

export interface ImageSource {
  readonly name: string;
  /** More names of the same image. */
  readonly aliases?: readonly string[];
  /** Path in the image to a file of this machine. */
  readonly files: Readonly<Record<string, string>>;
  /** Path in the image to where the link points. */
  readonly links?: Readonly<Record<string, string>>;
  readonly entrypoint: readonly string[];
  /** Arguments of the entry point when a container gives none. */
  readonly command?: readonly string[];
}

export function imageSources(programs: { pause: string; netexec: string; busybox: string }): ImageSource[] {
  return [
    { name: PAUSE_IMAGE, files: { "/pause": programs.pause }, entrypoint: ["/pause"] },
    {
      name: WORKLOAD_IMAGE,
      files: { "/bin/netexec": programs.netexec, "/bin/busybox": programs.busybox },
      links: { "/bin/sh": "busybox" },
      entrypoint: ["/bin/netexec"],
    },
  ];
}

/** Writes the image's archive below `directory` unless it is there, and gives its path. */
export async function archiveImage(image: ImageSource, directory: string): Promise<string> {
  const digest = createHash("sha256").update(JSON.stringify(image));
  for (const file of Object.values(image.files)) digest.update(readFileSync(file));
  const archive = join(
    directory,
    `${basename(image.name).replace(":", "-")}-${digest.digest("hex").slice(0, 8)}.tar`,
  );
  if (existsSync(archive)) return archive;

  const scratch = `${archive}.parts`;
  const root = join(scratch, "root");
  rmSync(scratch, { recursive: true, force: true });
  for (const [path, file] of Object.entries(image.files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    copyFileSync(file, join(root, path));
  }
  for (const [path, target] of Object.entries(image.links ?? {})) symlinkSync(target, join(root, path));
  await tar(join(scratch, "layer.tar"), root, ["."]);

  const layer = sha256(readFileSync(join(scratch, "layer.tar")));
  const configuration = JSON.stringify({
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    os: "linux",
    config: {
      Entrypoint: image.entrypoint,
      ...(image.command !== undefined && { Cmd: image.command }),
      Env: ["PATH=/bin"],
    },
    rootfs: { type: "layers", diff_ids: [`sha256:${layer}`] },
  });
  const configurationFile = `${sha256(Buffer.from(configuration))}.json`;
  writeFileSync(join(scratch, configurationFile), configuration);
  const names = [image.name, ...(image.aliases ?? [])];
  const manifest = [{ Config: configurationFile, RepoTags: names, Layers: ["layer.tar"] }];
  writeFileSync(join(scratch, "manifest.json"), JSON.stringify(manifest));
  await tar(`${archive}.new`, scratch, ["manifest.json", configurationFile, "layer.tar"]);
  rmSync(scratch, { recursive: true });
  renameSync(`${archive}.new`, archive);
  return archive;
}

const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

/** The same bytes for the same files, whoever runs it and when. */
async function tar(archive: string, directory: string, paths: readonly string[]): Promise<void> {
  const plain = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
  await run(["tar", "--create", ...plain, "--file", archive, "--directory", directory, ...paths]);
}
