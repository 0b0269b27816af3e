/**
 * Drives many probes on one thread: starts them in order while there is room, serves what is ready, and lets those
 * expire whose time is over. A deadline is looked at only when nothing is ready any more, so that a busy machine
 * does not look like a network that loses packets.
 */
import type { NetnsHandle } from "@weft/kernel/netns";
import { inNetns } from "@weft/kernel/netns";
import { closeFd, domainOf, EPOLL, openSocket, type Poller, SOCK } from "@weft/kernel/sys";
import type { Probe, Step } from "./probe.ts";

export interface LoopOptions {
  readonly poller: Poller;
  /** Serves a descriptor that is no probe's: a listener's. */
  readonly serve: (fd: number) => void;
  /** Probes in flight, not counting those that have waited for SLOW_MS. */
  readonly concurrency: number;
  /** Probes in flight of any kind: what the limit of open files leaves. */
  readonly sockets: number;
  readonly onProgress: (done: number) => void;
}

/** Sockets made in one visit to a namespace. */
const BATCH = 32;
/** A probe that has waited so long waits for its timeout and makes no work: others may start. */
const SLOW_MS = 50;
/** Work of this length is interrupted for the rest of the process. */
const TURN_MS = 10;
const LONGEST_WAIT_MS = 50;

interface InFlight {
  readonly probe: Probe;
  readonly fd: number;
  readonly since: number;
  deadline: number;
}

/** Runs all probes to their end. Every socket is closed when it returns or throws. */
export async function runProbes(probes: readonly Probe[], options: LoopOptions): Promise<void> {
  const inFlight = new Map<number, InFlight>();
  let next = 0;
  let slow = 0;
  let done = 0;

  const finish = (fd: number): void => {
    closeFd(fd);
    inFlight.delete(fd);
    done++;
  };
  const advance = (flight: InFlight, step: Step): void => {
    if (step === "done") finish(flight.fd);
    else if (step === "again") {
      closeFd(flight.fd);
      inFlight.delete(flight.fd);
      begin([flight.probe]);
    } else if (step !== "keep") flight.deadline = performance.now() + step;
  };
  /** Of one namespace. */
  const begin = (batch: readonly Probe[]): void => {
    const fds = openSockets(batch[0]!.namespace, batch);
    // All are in flight before the first begins, so that none is left open if one throws.
    const since = performance.now();
    const flights = batch.map((probe, i) => ({ probe, fd: fds[i]!, since, deadline: since }));
    for (const flight of flights) inFlight.set(flight.fd, flight);
    for (const flight of flights) {
      options.poller.add(flight.fd, EPOLL.in);
      advance(flight, flight.probe.begin(flight.fd));
    }
  };
  const start = (): void => {
    const room = Math.min(options.concurrency + slow, options.sockets) - inFlight.size;
    for (let left = room; left > 0 && next < probes.length; ) {
      const batch = sameNamespace(probes, next, Math.min(left, BATCH));
      next += batch.length;
      left -= batch.length;
      begin(batch);
    }
  };
  const ready = (fd: number): void => {
    const flight = inFlight.get(fd);
    if (flight === undefined) options.serve(fd);
    else advance(flight, flight.probe.ready());
  };
  /** Milliseconds to the next deadline. */
  const expire = (): number => {
    const now = performance.now();
    let nearest = now + LONGEST_WAIT_MS;
    slow = 0;
    for (const flight of [...inFlight.values()]) {
      if (flight.deadline <= now) advance(flight, flight.probe.expired());
      // Its number may be that of the next socket already.
      if (inFlight.get(flight.fd) !== flight) continue;
      nearest = Math.min(nearest, flight.deadline);
      if (now - flight.since > SLOW_MS) slow++;
    }
    return Math.max(0, nearest - now);
  };

  try {
    let turn = performance.now();
    while (next < probes.length || inFlight.size > 0) {
      start();
      const busy = options.poller.poll(ready) > 0;
      const wait = busy ? 0 : expire();
      const canStart =
        next < probes.length && inFlight.size < Math.min(options.concurrency + slow, options.sockets);
      if (!busy && !canStart && inFlight.size > 0) {
        await options.poller.wait(wait);
        turn = performance.now();
      } else if (performance.now() - turn > TURN_MS) {
        await new Promise((resolve) => setImmediate(resolve));
        turn = performance.now();
      }
      options.onProgress(done);
    }
  } finally {
    for (const fd of inFlight.keys()) closeFd(fd);
  }
}

/** The probes from `first` on that share a namespace, at most `most`. */
function sameNamespace(probes: readonly Probe[], first: number, most: number): readonly Probe[] {
  let end = first + 1;
  while (end < probes.length && end - first < most && probes[end]!.namespace === probes[first]!.namespace)
    end++;
  return probes.slice(first, end);
}

function openSockets(namespace: NetnsHandle, probes: readonly Probe[]): number[] {
  const fds: number[] = [];
  try {
    inNetns(namespace.fd, () => {
      for (const { family, socketType } of probes) {
        fds.push(openSocket(domainOf(family), socketType | SOCK.nonblock, 0));
      }
    });
    return fds;
  } catch (error) {
    for (const fd of fds) closeFd(fd);
    throw error;
  }
}
