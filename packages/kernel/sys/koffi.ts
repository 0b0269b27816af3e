/**
 * Foreign function calls by koffi. The one native file per architecture is loaded by a literal `require`, so
 * that a compiled executable embeds it; a machine that has only one of the packages must still compile, which
 * is why each stands in its own try.
 */
import { WeftError } from "@weft/base";

/** A C function. The last call's errno is in `Koffi.errno()`. */
export interface NativeFunction {
  (...args: unknown[]): unknown;
  /** The same call on a thread of the pool; the last argument is the callback. */
  async(...args: unknown[]): void;
}

export interface NativeLibrary {
  /** By C prototype: "int socket(int domain, int type, int protocol)". There is no `ssize_t`: write `long`. */
  func(prototype: string): NativeFunction;
}

export interface Koffi {
  load(path: string | null): NativeLibrary;
  errno(): number;
  /** Address of the bytes of an array; stable only for `Buffer.from(new ArrayBuffer(n))`. */
  address(bytes: Uint8Array): bigint;
  decode(pointer: unknown, type: string, length?: number): unknown;
}

function loadX64(): Koffi {
  try {
    return require("@koromix/koffi-linux-x64/linux_x64/koffi.node");
  } catch (cause) {
    throw missing(cause);
  }
}

function loadArm64(): Koffi {
  try {
    return require("@koromix/koffi-linux-arm64/linux_arm64/koffi.node");
  } catch (cause) {
    throw missing(cause);
  }
}

const missing = (cause: unknown): WeftError =>
  new WeftError("unsupported", `no foreign function calls on linux ${process.arch}`, {
    hint: "Install the optional package @koromix/koffi-linux-x64 or @koromix/koffi-linux-arm64 of this machine.",
    cause,
  });

let loaded: Koffi | undefined;

/** Loads koffi at the first call (about 10 ms), so that a program which makes no call does not pay for it. */
export function koffi(): Koffi {
  if (loaded === undefined) {
    if (process.platform !== "linux") throw missing(undefined);
    if (process.arch === "x64") loaded = loadX64();
    else if (process.arch === "arm64") loaded = loadArm64();
    else throw missing(undefined);
  }
  return loaded;
}
