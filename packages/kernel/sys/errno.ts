/** Errors of system calls: errno as a typed WeftError. */
import { constants } from "node:os";
import { type ErrorCode, WeftError, type WeftErrorOptions } from "@weft/base";

/** Linux errno numbers (include/uapi/asm-generic/errno*.h; 524 is internal to the kernel but leaks out). */
export const ERRNO: typeof constants.errno & { readonly ENOTSUPP: number } & Readonly<
    Record<string, number>
  > = {
  ...constants.errno,
  ENOTSUPP: 524,
};

const NAMES = new Map<number, string>();
// Two names share some numbers (EWOULDBLOCK, EOPNOTSUPP): the kernel's own name wins.
for (const [name, value] of Object.entries(ERRNO)) {
  if (name !== "EWOULDBLOCK" && name !== "ENOTSUP") NAMES.set(value, name);
}

/** "ENOENT" of 2; "errno 999" of what has no name. */
export const errnoName = (errno: number): string => NAMES.get(errno) ?? `errno ${errno}`;

const CODES: Readonly<Partial<Record<ErrorCode, string>>> = {
  "not-found": "ENOENT ENODEV ESRCH ENXIO EADDRNOTAVAIL",
  exists: "EEXIST ENOTEMPTY",
  permission: "EPERM EACCES EROFS",
  unsupported:
    "EOPNOTSUPP ENOTSUPP EPROTONOSUPPORT EAFNOSUPPORT EPFNOSUPPORT ESOCKTNOSUPPORT ENOPROTOOPT ENOSYS ENOTTY",
  busy: "EBUSY EAGAIN EINTR EADDRINUSE ETXTBSY EDEADLK",
  invalid: "EINVAL ERANGE E2BIG ENAMETOOLONG EMSGSIZE EDOM EBADF ENOTDIR EISDIR ENOTSOCK EBADMSG ELOOP EXDEV",
  overflow: "ENOBUFS EOVERFLOW",
  exhausted: "ENOSPC EMFILE ENFILE ENOMEM EDQUOT",
  timeout: "ETIMEDOUT ETIME",
  unavailable: "ENETDOWN ENETUNREACH EHOSTUNREACH EHOSTDOWN ECONNREFUSED ECONNRESET EPIPE ENOTCONN",
};

const CODE_OF = new Map<number, ErrorCode>();
for (const [code, names] of Object.entries(CODES)) {
  for (const name of names.split(" ")) {
    const value = ERRNO[name];
    if (value !== undefined) CODE_OF.set(value, code as ErrorCode);
  }
}

const HINTS: Readonly<Record<string, string>> = {
  EPERM: "Run as root, or with CAP_NET_ADMIN, CAP_SYS_ADMIN and CAP_NET_BROADCAST.",
  EACCES: "Run as root, or with CAP_NET_ADMIN, CAP_SYS_ADMIN and CAP_NET_BROADCAST.",
  EOPNOTSUPP: "This kernel lacks the module or the option; load the module or use a newer kernel.",
  EAFNOSUPPORT: "The address family is off in this kernel; see net.ipv6.conf.all.disable_ipv6.",
  EMFILE: "Raise the limit of open files (ulimit -n, LimitNOFILE).",
  ENFILE: "Raise fs.file-max.",
  ENETDOWN: "Set the link up first.",
  ENETUNREACH: "The gateway is on no link's network: add its route first, or mark the route onlink.",
};

/** errno as WeftError code; what is not known is "internal". */
export const codeOfErrno = (errno: number): ErrorCode => CODE_OF.get(errno) ?? "internal";

export interface SysErrorOptions extends WeftErrorOptions {
  /** The kernel's own words (netlink extended acknowledgement). */
  readonly kernelMessage?: string | undefined;
  /** Byte offset of the attribute that the kernel rejected, from the start of the netlink message. */
  readonly offset?: number | undefined;
}

/** A system call, or a netlink request, that failed. */
export class SysError extends WeftError {
  /** Positive, as in errno(3). */
  readonly errno: number;
  readonly errnoName: string;
  readonly kernelMessage: string | undefined;
  readonly offset: number | undefined;

  constructor(call: string, errno: number, options: SysErrorOptions = {}) {
    const name = errnoName(errno);
    const what = options.object === undefined ? call : `${call} ${options.object}`;
    const hint = options.hint ?? HINTS[name];
    const detail = options.kernelMessage === undefined ? "" : ` (${options.kernelMessage})`;
    super(codeOfErrno(errno), `${what}: ${name}${detail}`, {
      ...(options.object === undefined ? {} : { object: options.object }),
      ...(hint === undefined ? {} : { hint }),
      ...(options.cause === undefined ? {} : { cause: options.cause }),
    });
    this.name = "SysError";
    this.errno = errno;
    this.errnoName = name;
    this.kernelMessage = options.kernelMessage;
    this.offset = options.offset;
  }
}

/** The error of a system call: sysError("setns", 1, "/run/netns/a"). */
export const sysError = (call: string, errno: number, object?: string): SysError =>
  new SysError(call, errno, object === undefined ? {} : { object });

/** Errors of node:fs carry a negative errno; anything else is passed on as it is. */
export function fsError(cause: unknown, object: string): unknown {
  if (!(cause instanceof Error) || !("errno" in cause) || typeof cause.errno !== "number") return cause;
  const call = "syscall" in cause && typeof cause.syscall === "string" ? cause.syscall : "file";
  return new SysError(call, Math.abs(cause.errno), { object, cause });
}

/** True if the error is, or was caused by, a system call that failed with this errno ("EEXIST"). */
export function hasErrno(error: unknown, name: string): boolean {
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    if (e instanceof SysError && e.errnoName === name) return true;
  }
  return false;
}
