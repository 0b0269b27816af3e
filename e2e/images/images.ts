/**
 * The images of the test pods, without a registry:
 *
 *   weft.network/e2e/pause:1      the static program pause.c
 *   weft.network/e2e/workload:1   netexec, and busybox as /bin/sh (Debian's prefers its own applets)
 *   weft.network/e2e/weft:1       Weft itself, written by `weft image`
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { type ImageSource, writeArchive } from "@weft/image";

export const PAUSE_IMAGE = "weft.network/e2e/pause:1";
export const WORKLOAD_IMAGE = "weft.network/e2e/workload:1";
export const WEFT_IMAGE = "weft.network/e2e/weft:1";

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
  if (!existsSync(archive)) await writeArchive(image, archive);
  return archive;
}
