import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { archiveImage, imageSources } from "./images.ts";

const scratch = mkdtempSync(join(tmpdir(), "weft-images-"));
afterAll(() => rmSync(scratch, { recursive: true }));

function sources(content: string) {
  const file = join(scratch, "program");
  writeFileSync(file, content, { mode: 0o755 });
  return imageSources({ pause: file, netexec: file, busybox: file });
}

test("an archive's name follows its content", async () => {
  const before = await archiveImage(sources("one")[0]!, scratch);
  const after = await archiveImage(sources("two")[0]!, scratch);
  expect(after).not.toBe(before);
  expect(await archiveImage(sources("one")[0]!, scratch)).toBe(before);
});
