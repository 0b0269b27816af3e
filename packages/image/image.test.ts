import { afterAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isNotFound } from "@weft/base";
import { type ImageSource, sharedLibraries, weftImage, writeArchive } from "./index.ts";
import { parseLdd } from "./libraries.ts";

const scratch = mkdtempSync(join(tmpdir(), "weft-image-test-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const sh = (...argv: string[]): string => {
  const { exitCode, stdout, stderr } = Bun.spawnSync(argv, { stdout: "pipe", stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr.toString()}`);
  return stdout.toString();
};

function source(content: string): ImageSource {
  const file = join(scratch, "program");
  writeFileSync(file, content);
  chmodSync(file, 0o755);
  return {
    name: "example.org/test:1",
    files: { "/bin/program": file },
    texts: { "/etc/text": "words\n" },
    links: { "/bin/other": "program" },
    directories: ["/tmp"],
    entrypoint: ["/bin/program"],
  };
}

test("an archive is what its manifest says: configuration and layer by digest, links, modes, owners", async () => {
  const archive = join(scratch, "a.tar");
  const identity = await writeArchive(source("one"), archive);
  const [manifest] = JSON.parse(sh("tar", "-xOf", archive, "manifest.json"));
  expect(manifest.RepoTags).toEqual(["example.org/test:1"]);
  const text = sh("tar", "-xOf", archive, manifest.Config);
  expect(`sha256:${createHash("sha256").update(text).digest("hex")}`).toBe(identity);
  const configuration = JSON.parse(text);
  expect(configuration.config.Entrypoint).toEqual(["/bin/program"]);
  sh("tar", "-xf", archive, "-C", scratch, ...manifest.Layers);
  const layer = join(scratch, manifest.Layers[0]);
  const digest = createHash("sha256").update(readFileSync(layer)).digest("hex");
  expect(configuration.rootfs.diff_ids).toEqual([`sha256:${digest}`]);
  const listed = sh("tar", "-tvf", layer);
  expect(listed).toMatch(/^-rwxr-xr-x 0\/0 .* \.\/bin\/program$/m);
  expect(listed).toMatch(/^lrwx[-rwx]{6} 0\/0 .* \.\/bin\/other -> program$/m);
  expect(listed).toMatch(/^-rw-r--r-- 0\/0 .* \.\/etc\/text$/m);
  expect(listed).toMatch(/^drwxr-xr-x 0\/0 .* \.\/tmp\/$/m);
});

test("the same files give the same bytes, whenever and with whatever umask; other files give others", async () => {
  const one = join(scratch, "one.tar");
  const two = join(scratch, "two.tar");
  const first = await writeArchive(source("one"), one);
  // Times in an archive are whole seconds.
  await Bun.sleep(1100);
  const again = source("one");
  utimesSync(join(scratch, "program"), 1000, 1000);
  const umask = process.umask(0o077);
  try {
    expect(await writeArchive(again, two)).toBe(first);
  } finally {
    process.umask(umask);
  }
  expect(readFileSync(two).equals(readFileSync(one))).toBe(true);
  expect(await writeArchive(source("two"), two)).not.toBe(first);
});

test("a file that is missing leaves no archive and no scratch", async () => {
  const archive = join(scratch, "missing.tar");
  const bad = { ...source("x"), files: { "/x": join(scratch, "nowhere") } };
  const error = await writeArchive(bad, archive).catch((e: unknown) => e);
  expect(isNotFound(error)).toBe(true);
  expect(readdirSync(scratch).filter((name) => name.startsWith("missing"))).toEqual([]);
});

test("ldd's words: libraries, the linker, no vDSO; a missing library is named", () => {
  const text =
    "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\t/lib64/ld.so (0x00007f)\n";
  expect(parseLdd(text, "x")).toEqual(["/lib/libc.so.6", "/lib64/ld.so"]);
  expect(parseLdd("\tnot a dynamic executable\n", "x")).toEqual([]);
  expect(() => parseLdd("\tlibx.so => not found\n", "x")).toThrow("libx.so is not on this machine");
  expect(sharedLibraries(["/bin/sh"]).some((path) => path.endsWith("/libc.so.6"))).toBe(true);
});

test("Weft's image: nft and a program run in it and nothing else", async () => {
  // The executable's own libraries are a shell's; the shell stands in for it, so that nothing of 100 MB is packed.
  const image = weftImage({ name: "weft:test", executable: "/bin/sh", shim: "/bin/true" });
  const archive = join(scratch, "weft.tar");
  await writeArchive(image, archive);
  const root = join(scratch, "root");
  sh("mkdir", "-p", root);
  sh("sh", "-c", `tar -xOf ${archive} layer.tar | tar -x -C ${root}`);
  expect(sh("chroot", root, "/usr/sbin/nft", "--version")).toContain("nftables v");
  expect(sh("chroot", root, "/bin/weft", "-c", "echo said")).toBe("said\n");
  expect(readdirSync(root).sort()).toEqual(
    [...new Set([...Object.keys(image.files), "/etc", "/var", "/run", "/tmp", "/host"])]
      .map((path) => path.split("/")[1] as string)
      .filter((name, i, all) => all.indexOf(name) === i)
      .sort(),
  );
  expect(Object.keys(image.files).some((path) => path.endsWith("libstdc++.so.6"))).toBe(true);
});
