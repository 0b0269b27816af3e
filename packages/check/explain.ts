/** Why a probe failed, in words: what was seen, and what to look at. */
import { describeError } from "@weft/base";
import { decodeSocketAddress, errnoName, SysError, socketName } from "@weft/kernel/sys";
import type { Endpoint } from "./endpoints.ts";
import type { Answer } from "./message.ts";

export interface Reason {
  readonly message: string;
  readonly hint?: string;
}

const REASONS: Readonly<Record<string, Reason>> = {
  ECONNREFUSED: {
    message: "connection refused",
    hint: "The check's own listener was open: something on the path answers for it. Look for nft rules that reject.",
  },
  ECONNRESET: {
    message: "connection reset (ECONNRESET)",
    hint: "Something on the path cuts connections. Look for nft rules that reject with tcp reset.",
  },
  ENETUNREACH: {
    message: "no route (ENETUNREACH)",
    hint: "The sender's namespace has no route to the address, or one of type unreachable: see ip route get there.",
  },
  EHOSTUNREACH: {
    message: "host unreachable (EHOSTUNREACH)",
    hint: "A router on the path has no route or no neighbour for the address, or rejects: see ip route get and ip neighbour there.",
  },
  EACCES: {
    message: "prohibited (EACCES)",
    hint: "A route of type prohibit, or a firewall that answers `administratively prohibited`.",
  },
  EPERM: {
    message: "the sender's own packet filter drops it (EPERM)",
    hint: "Look at the output hooks in the sender's namespace: nft list ruleset.",
  },
  EINVAL: {
    message: "a blackhole route takes it (EINVAL)",
    hint: "See ip route get in the sender's namespace.",
  },
  EADDRNOTAVAIL: {
    message: "no source address to send from (EADDRNOTAVAIL)",
    hint: "See ip address in the sender's namespace.",
  },
  ETIMEDOUT: { message: "timed out (ETIMEDOUT)" },
};

/** Of an error that a socket call threw. */
export function reasonOf(error: unknown): Reason {
  if (!(error instanceof SysError)) return { message: describeError(error) };
  return reasonOfErrno(error.errno);
}

/** Of an errno; `reporter` names who sent the ICMP message that brought it. */
export function reasonOfErrno(errno: number, reporter?: string): Reason {
  const name = errnoName(errno);
  const reason = REASONS[name] ?? { message: name };
  return reporter === undefined ? reason : { ...reason, message: `${reason.message}, says ${reporter}` };
}

/** "1 s", "250 ms", "1.5 s". */
export const durationText = (ms: number): string => (ms < 1000 ? `${Math.round(ms)} ms` : `${ms / 1000} s`);

export const timedOut = (ms: number): Reason => ({
  message: `timed out after ${durationText(ms)}`,
  hint: "Nothing came back: follow the path with ip route get on both nodes, and look for chains that drop.",
});

/**
 * Whether the answer says what the network model demands: given by the listener that was asked, which saw the
 * sender's own address. `fd` is the sender's socket. Undefined when all is well.
 */
export function judge(
  answer: Answer,
  fd: number,
  from: Endpoint,
  to: Endpoint,
  listener: { readonly index: number },
  nameOf: (index: number) => string | undefined,
): Reason | undefined {
  if (answer.listener !== listener.index) {
    return {
      message: `address translated: ${nameOf(answer.listener) ?? "somebody else"} answered in place of ${to.name}`,
      hint: "Look for dnat and redirect rules that match pod addresses.",
    };
  }
  const sender = from.kind === "pod" ? "the pod" : "the node";
  const own = decodeSocketAddress(socketName(fd)).ip;
  if (answer.seen !== own) {
    return {
      message: `address translated: ${to.name} saw ${answer.seen}, ${sender} sent from ${own}`,
      hint: "Look for snat and masquerade rules: packets to pods and nodes of the cluster must be left out of them.",
    };
  }
  // A node has more addresses than its own row names: that of its tunnel.
  if (from.kind === "pod" && !from.addresses.includes(own)) {
    return {
      message: `the pod sent from ${own}, which is not one of its addresses (${from.addresses.join(", ")})`,
      hint: "Look at the source addresses of the routes in the pod: ip route get.",
    };
  }
  return undefined;
}
