/**
 * The images of upstream's tests without a registry, under the names that e2e.test asks for; nothing pulls what is
 * there already. One image stands for most: agnhost with the tools that test pods call. So `nginx` serves nothing; the
 * specs that name it ask only that it runs.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { WeftError } from "@weft/base";
import type { ImageSource } from "@weft/image";
import { CERTIFICATES, type Upstream } from "../build/upstream.ts";
import { run } from "../command.ts";
import { archiveImage } from "../images/images.ts";
import { CACHE } from "../paths.ts";

export const COREDNS_IMAGE = "weft.network/e2e/coredns:1";
/** Of e2e.test's images those that the network's conformance specs run, by their paths at registry.k8s.io. */
const STANDS_FOR = ["agnhost", "jessie-dnsutils", "nginx"].map((last) => `e2e-test-images/${last}`);
/** Of this host. /bin/sh must run programs by their names, which busybox's prefers its own to. */
const TOOLS: Readonly<Record<string, string>> = {
  bash: "bash",
  curl: "curl",
  dig: "dig",
  getent: "getent",
  ip: "ip",
  nc: "nc.openbsd",
  nslookup: "nslookup",
  sh: "dash",
  ss: "ss",
};
const BUSYBOX = [
  "cat",
  "date",
  "echo",
  "grep",
  "head",
  "hostname",
  "ls",
  "seq",
  "sleep",
  "tail",
  "test",
  "wc",
];

/** Archives for `ctr images import`. */
export async function archiveUpstreamImages(
  upstream: Upstream,
  host: { readonly busybox: string; readonly pause: string },
): Promise<string[]> {
  const listed = await run([upstream.e2eTest, "--list-images"]);
  const [name, ...aliases] = STANDS_FOR.flatMap((path) => imageNames(listed, path));
  const [pause] = imageNames(listed, "pause");
  const sources: ImageSource[] = [
    {
      name: name as string,
      aliases,
      files: {
        "/agnhost": upstream.agnhost,
        ...Object.fromEntries(CERTIFICATES.map((file) => [`/${file}`, join(upstream.certificates, file)])),
        "/bin/busybox": host.busybox,
        "/etc/nsswitch.conf": join(import.meta.dir, "nsswitch.conf"),
        ...(await toolFiles()),
      },
      links: Object.fromEntries(BUSYBOX.map((name) => [`/bin/${name}`, "busybox"])),
      entrypoint: ["/agnhost"],
      command: ["pause"],
    },
    { name: pause as string, files: { "/pause": host.pause }, entrypoint: ["/pause"] },
    { name: COREDNS_IMAGE, files: { "/coredns": upstream.coredns }, entrypoint: ["/coredns"] },
  ];
  const archives: string[] = [];
  for (const source of sources) archives.push(await archiveImage(source, CACHE));
  return archives;
}

/** The names with their tags, in what `e2e.test --list-images` prints, of all images with that path. */
export function imageNames(listed: string, path: string): string[] {
  const names = listed.split("\n").map((line) => line.trim());
  const found = names.filter((name) => name.startsWith(`registry.k8s.io/${path}:`));
  if (found.length === 0) throw new WeftError("not-found", `e2e.test lists no image registry.k8s.io/${path}`);
  return found;
}

/** The tools and the libraries that they are linked to, at the paths where this host has them. */
async function toolFiles(): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const [name, program] of Object.entries(TOOLS)) {
    const file = Bun.which(program);
    if (file === null || !existsSync(file)) throw new WeftError("not-found", `there is no ${program} here`);
    files[`/bin/${name}`] = file;
    for (const library of linkedLibraries(await run(["ldd", file]))) files[library] = library;
  }
  return files;
}

/** Absolute paths in what ldd prints: "libz.so.1 => /lib/.../libz.so.1 (0x7f...)", "/lib64/ld-linux... (0x7f...)". */
export const linkedLibraries = (printed: string): string[] =>
  [...printed.matchAll(/^\s+(?:\S+ => )?(\/\S+) \(0x/gm)].map((match) => match[1] as string);
