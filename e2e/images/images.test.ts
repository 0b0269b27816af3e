import { afterAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../command.ts";
import { archiveImage, imageSources } from "./images.ts";

const scratch = mkdtempSync(join(tmpdir(), "weft-images-"));
afterAll(() => rmSync(scratch, { recursive: true }));

function sources(content: string) {
  const file = join(scratch, "program");
  writeFileSync(file, content, { mode: 0o755 });
  return imageSources({ pause: file, netexec: file, busybox: file });
}

test("an archive is what its manifest says, layer by digest", async () => {
  for (const source of sources("one")) {
    const archive = await archiveImage(source, scratch);
    const part = (name: string): Promise<string> => run(["tar", "-xOf", archive, name]);
    const [manifest] = JSON.parse(await part("manifest.json"));
    expect(manifest.RepoTags).toEqual([source.name]);
    const configuration = JSON.parse(await part(manifest.Config));
    expect(configuration.config.Entrypoint).toEqual(source.entrypoint);
    await run(["tar", "-xf", archive, "-C", scratch, ...manifest.Layers]);
    const layer = join(scratch, manifest.Layers[0]);
    const digest = createHash("sha256").update(readFileSync(layer)).digest("hex");
    expect(configuration.rootfs.diff_ids).toEqual([`sha256:${digest}`]);
    const listed = (await run(["tar", "-tf", layer])).split("\n");
    for (const path of [...Object.keys(source.files), ...Object.keys(source.links ?? {})]) {
      expect(listed).toContain(`.${path}`);
    }
  }
});

test("an archive's name follows its content", async () => {
  const before = await archiveImage(sources("one")[0]!, scratch);
  const after = await archiveImage(sources("two")[0]!, scratch);
  expect(after).not.toBe(before);
  expect(await archiveImage(sources("one")[0]!, scratch)).toBe(before);
});
