/**
 * What Weft's image holds. One image for agent, controller and clean-up: the executable decides by its words.
 *
 *   /bin/weft        the executable
 *   /opt/weft/weft   the plugin's shim, or where none was compiled the executable by a link
 *   /usr/sbin/nft    loads the nftables skeleton
 *   shared libraries of these, at the paths where this machine has them
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { WeftError } from "@weft/base";
import type { ImageSource } from "./archive.ts";
import { sharedLibraries } from "./libraries.ts";

export interface WeftImageFiles {
  readonly name: string;
  readonly executable: string;
  /** Undefined: there is none. */
  readonly shim: string | undefined;
}

/** Where the image has the file that a node gets as its CNI plugin. */
export const SHIM = "/opt/weft/weft";

/** Of the native module inside of the executable, which ldd does not see. */
const INSIDE = ["libstdc++.so.6", "libgcc_s.so.1"];
const NFT_PLACES = ["/usr/sbin/nft", "/sbin/nft", "/usr/local/sbin/nft"];

/** Throws "not-found" or "unsupported" for what is missing on this machine. */
export function weftImage({ name, executable, shim }: WeftImageFiles): ImageSource {
  const nft = NFT_PLACES.find((path) => existsSync(path));
  if (nft === undefined) {
    throw new WeftError("not-found", "the program nft is not installed", {
      hint: "apt-get install nftables",
    });
  }
  const linked = sharedLibraries([executable, nft]);
  const libc = linked.find((path) => /\/libc\.so\.6$/.test(path));
  const inside = INSIDE.map((library) => join(dirname(libc ?? "/lib/libc.so.6"), library));
  const libraries = Object.fromEntries([...linked, ...inside].map((path) => [path, path]));
  return {
    name,
    files: {
      ...libraries,
      "/bin/weft": executable,
      "/usr/sbin/nft": nft,
      ...(shim === undefined ? {} : { [SHIM]: shim }),
    },
    texts: {
      "/etc/passwd": "root:x:0:0:root:/:/bin/false\nweft:x:65532:65532:weft:/:/bin/false\n",
      "/etc/group": "root:x:0:\nweft:x:65532:\n",
      "/etc/nsswitch.conf": "hosts: files dns\n",
    },
    links: {
      // Runtimes name a pod's namespace /var/run/netns/..., and put a service account's files below /var/run.
      "/var/run": "/run",
      ...(shim === undefined ? { [SHIM]: "/bin/weft" } : {}),
    },
    directories: ["/run", "/tmp", "/host"],
    entrypoint: ["/bin/weft"],
    path: "/bin:/usr/sbin",
  };
}
