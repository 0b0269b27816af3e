/**
 * Images as docker-archive tars (`docker save`'s format: manifest.json, a configuration and layers) of one layer. The
 * same files give the same bytes: names are sorted, times are zero, owners are root, modes are only "may run" or not.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  createReadStream,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { WeftError } from "@weft/base";

export interface ImageSource {
  /** Repository and tag: "example.org/hello:1". */
  readonly name: string;
  /** More names of the same image. */
  readonly aliases?: readonly string[];
  /** Path in the image to a file of this machine. */
  readonly files: Readonly<Record<string, string>>;
  /** Path in the image to what the file says. */
  readonly texts?: Readonly<Record<string, string>>;
  /** Path in the image to where the link points. */
  readonly links?: Readonly<Record<string, string>>;
  /** Empty directories, as places for mounts. */
  readonly directories?: readonly string[];
  readonly entrypoint: readonly string[];
  /** Arguments of the entry point when a container gives none. */
  readonly command?: readonly string[];
  /** PATH of its processes; "/bin" when absent. */
  readonly path?: string;
}

/**
 * Writes the image's archive, whole or not at all, and gives the image's identity ("sha256:..." of its configuration).
 * Throws "not-found" for a file that is not there, "internal" with tar's words.
 */
export async function writeArchive(image: ImageSource, archive: string): Promise<string> {
  if (!existsSync(dirname(archive))) {
    throw new WeftError("not-found", `there is no directory ${dirname(archive)}`, { object: archive });
  }
  const scratch = `${archive}.parts`;
  const root = join(scratch, "root");
  rmSync(scratch, { recursive: true, force: true });
  try {
    layOut(image, root);
    await tar(join(scratch, "layer.tar"), root, ["."]);
    const layer = await sha256(join(scratch, "layer.tar"));
    const configuration = JSON.stringify({
      architecture: process.arch === "x64" ? "amd64" : process.arch,
      os: "linux",
      config: {
        Entrypoint: image.entrypoint,
        ...(image.command === undefined ? {} : { Cmd: image.command }),
        Env: [`PATH=${image.path ?? "/bin"}`],
      },
      rootfs: { type: "layers", diff_ids: [`sha256:${layer}`] },
    });
    const identity = createHash("sha256").update(configuration).digest("hex");
    writeFileSync(join(scratch, `${identity}.json`), configuration);
    const manifest = [
      { Config: `${identity}.json`, RepoTags: [image.name, ...(image.aliases ?? [])], Layers: ["layer.tar"] },
    ];
    writeFileSync(join(scratch, "manifest.json"), JSON.stringify(manifest));
    await tar(`${archive}.new`, scratch, ["manifest.json", `${identity}.json`, "layer.tar"]);
    renameSync(`${archive}.new`, archive);
    return `sha256:${identity}`;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
    rmSync(`${archive}.new`, { force: true });
  }
}

function layOut(image: ImageSource, root: string): void {
  const place = (path: string): string => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    return join(root, path);
  };
  mkdirSync(root, { recursive: true });
  for (const path of image.directories ?? []) mkdirSync(join(root, path), { recursive: true });
  for (const [path, file] of Object.entries(image.files)) {
    const stat = statSync(file, { throwIfNoEntry: false });
    if (stat === undefined || !stat.isFile()) {
      throw new WeftError("not-found", `${file} is no file`, { object: `image ${image.name}` });
    }
    copyFileSync(file, place(path));
    chmodSync(join(root, path), stat.mode & 0o111 ? 0o755 : 0o644);
  }
  for (const [path, text] of Object.entries(image.texts ?? {})) writeFileSync(place(path), text);
  for (const [path, target] of Object.entries(image.links ?? {})) symlinkSync(target, place(path));
}

/** Not read into memory: a layer has more than a hundred megabytes. */
async function sha256(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(file)) hash.update(piece);
  return hash.digest("hex");
}

const PLAIN = [
  ...["--format=gnu", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"],
  // Whatever the umask of whoever runs this is.
  "--mode=u=rwX,go=rX",
];

async function tar(archive: string, directory: string, paths: readonly string[]): Promise<void> {
  const child = Bun.spawn(
    ["tar", "--create", ...PLAIN, "--file", archive, "--directory", directory, ...paths],
    {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "pipe",
    },
  );
  const [stderr, code] = await Promise.all([new Response(child.stderr).text(), child.exited]);
  if (code === 0) return;
  throw new WeftError("internal", `tar: exit code ${code}: ${stderr.trim()}`, {
    object: archive,
    hint: "Is there room on the disk?",
  });
}
