/** The C library's functions, bound at the first use. Everything else goes through the typed calls beside. */
import { ERRNO, sysError } from "./errno.ts";
import { koffi, type NativeFunction } from "./koffi.ts";

const PROTOTYPES = {
  socket: "int socket(int domain, int type, int protocol)",
  bind: "int bind(int fd, const void *address, uint32_t length)",
  close: "int close(int fd)",
  send: "long send(int fd, const void *bytes, size_t length, int flags)",
  recv: "long recv(int fd, void *bytes, size_t length, int flags)",
  sendmsg: "long sendmsg(int fd, const void *message, int flags)",
  recvmsg: "long recvmsg(int fd, void *message, int flags)",
  setsockopt: "int setsockopt(int fd, int level, int option, const void *value, uint32_t length)",
  getsockopt: "int getsockopt(int fd, int level, int option, void *value, void *length)",
  getsockname: "int getsockname(int fd, void *address, void *length)",
  setns: "int setns(int fd, int kind)",
  unshare: "int unshare(int flags)",
  mount:
    "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
  ioctl: "int ioctl(int fd, unsigned long request, void *argument)",
  flock: "int flock(int fd, int operation)",
  umount2: "int umount2(const char *target, int flags)",
} as const;

export type Libc = Readonly<Record<keyof typeof PROTOTYPES, NativeFunction>>;

let bound: Libc | undefined;

export function libc(): Libc {
  if (bound === undefined) {
    const library = koffi().load(null);
    const functions: Partial<Record<keyof typeof PROTOTYPES, NativeFunction>> = {};
    for (const [name, prototype] of Object.entries(PROTOTYPES)) {
      functions[name as keyof typeof PROTOTYPES] = library.func(prototype);
    }
    bound = functions as Libc;
  }
  return bound;
}

/** errno of the last call that this thread made through koffi. */
export const errno = (): number => koffi().errno();

/** Calls a function that returns -1 on failure; repeats it when a signal interrupted it. */
export function call(name: keyof typeof PROTOTYPES, object: string | undefined, ...args: unknown[]): number {
  const fn = libc()[name];
  for (;;) {
    const result = Number(fn(...args));
    if (result >= 0) return result;
    const number = errno();
    if (number !== ERRNO.EINTR) throw sysError(name, number, object);
  }
}
