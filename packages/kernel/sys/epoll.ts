/** Readiness of many descriptors: epoll(7), level-triggered. */
import { ERRNO, sysError } from "./errno.ts";
import { koffi, type NativeFunction } from "./koffi.ts";
import { errno } from "./libc.ts";
import { closeFd } from "./socket.ts";

export const EPOLL = { in: 0x1, out: 0x4, error: 0x8, hangup: 0x10 } as const;

const CTL_ADD = 1;
const CLOEXEC = 0o2000000;
const BATCH = 256;
// struct epoll_event is packed on x86-64 only (include/uapi/linux/eventpoll.h).
const EVENT_SIZE = process.arch === "x64" ? 12 : 16;
const DATA_OFFSET = EVENT_SIZE - 8;

interface Functions {
  readonly create: NativeFunction;
  readonly control: NativeFunction;
  readonly wait: NativeFunction;
}

let bound: Functions | undefined;

function functions(): Functions {
  if (bound === undefined) {
    const library = koffi().load(null);
    bound = {
      create: library.func("int epoll_create1(int flags)"),
      control: library.func("int epoll_ctl(int epoll, int operation, int fd, const void *event)"),
      wait: library.func("int epoll_wait(int epoll, void *events, int count, int timeout)"),
    };
  }
  return bound;
}

/** A set of descriptors to wait for. A descriptor leaves it by being closed. */
export class Poller {
  readonly #fd: number;
  // Never moves, so that a thread of the pool may write into it.
  readonly #events = Buffer.from(new ArrayBuffer(BATCH * EVENT_SIZE));
  readonly #spare = Buffer.from(new ArrayBuffer(EVENT_SIZE));

  constructor() {
    this.#fd = Number(functions().create(CLOEXEC));
    if (this.#fd < 0) throw sysError("epoll_create1", errno());
  }

  /** Watches for `events` (EPOLL, or-ed); errors and hang-ups are always reported. */
  add(fd: number, events: number): void {
    const event = Buffer.alloc(EVENT_SIZE);
    event.writeUInt32LE(events, 0);
    event.writeInt32LE(fd, DATA_OFFSET);
    if (Number(functions().control(this.#fd, CTL_ADD, fd, event)) < 0) throw sysError("epoll_ctl", errno());
  }

  /** Calls `ready` for what is ready now, without waiting; the number of calls, at most 256. */
  poll(ready: (fd: number, events: number) => void): number {
    const count = Number(functions().wait(this.#fd, this.#events, BATCH, 0));
    if (count < 0) {
      const number = errno();
      if (number === ERRNO.EINTR) return 0;
      throw sysError("epoll_wait", number);
    }
    for (let i = 0; i < count; i++) {
      const at = i * EVENT_SIZE;
      ready(this.#events.readInt32LE(at + DATA_OFFSET), this.#events.readUInt32LE(at));
    }
    return count;
  }

  /** Waits on a thread of the pool until something is ready or the time is over; what it is, `poll` tells. */
  wait(milliseconds: number): Promise<void> {
    return new Promise((resolve, reject) => {
      functions().wait.async(this.#fd, this.#spare, 1, Math.ceil(milliseconds), (failure: Error | null) => {
        if (failure !== null) reject(failure);
        else resolve();
      });
    });
  }

  close(): void {
    closeFd(this.#fd);
  }
}
