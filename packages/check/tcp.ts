/**
 * The TCP probe: connect, read the listener's answer, compare the address it saw with the socket's own.
 *
 * One lost packet is no fault of a network, as for UDP. The kernel sends a lost SYN again after a second (RFC 6298
 * section 2.1), which is the whole of a timeout: so a second connection is tried instead.
 */
import type { Family } from "@weft/base";
import type { NetnsHandle } from "@weft/kernel/netns";
import {
  connectSocket,
  RESET_ON_CLOSE,
  receiveStream,
  SO_LINGER,
  SOCK,
  SOL_SOCKET,
  setOptionBytes,
  takeFault,
} from "@weft/kernel/sys";
import { judge, type Reason, reasonOf, reasonOfErrno, timedOut } from "./explain.ts";
import { decodeAnswer } from "./message.ts";
import type { Probe, ProbeContext, Step, Target } from "./probe.ts";

// One answer fits in one segment, and calls are synchronous.
const buffer = Buffer.alloc(64);

export class TcpProbe implements Probe {
  readonly namespace: NetnsHandle;
  readonly family: Family;
  readonly socketType = SOCK.stream;
  readonly #context: ProbeContext;
  readonly #target: Target;
  #fd = -1;
  #retriesLeft: number;

  constructor(context: ProbeContext, target: Target) {
    this.#context = context;
    this.#retriesLeft = context.retries;
    this.#target = target;
    this.namespace = target.namespace;
    this.family = target.family;
  }

  begin(fd: number): Step {
    const { timeoutMs, retries } = this.#context;
    this.#fd = fd;
    if (this.#retriesLeft === retries) this.#context.begun();
    try {
      setOptionBytes(fd, SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE);
      connectSocket(fd, this.#target.listener.tcp);
    } catch (error) {
      return this.#fail(reasonOf(error));
    }
    return timeoutMs / (retries + 1);
  }

  ready(): Step {
    let length: number | undefined;
    try {
      length = receiveStream(this.#fd, buffer);
    } catch (error) {
      return this.#fault(error);
    }
    // Unreachable, says ICMP: the kernel would go on and try again, until long after our timeout.
    if (length === undefined) return this.#fault();
    const answer = decodeAnswer(this.#context.token, buffer.subarray(0, length));
    if (answer === undefined) {
      return this.#fail({
        message: `address translated: somebody else answered in place of ${this.#target.to.name}`,
        hint: "Look for dnat, redirect and tproxy rules that match pod addresses.",
      });
    }
    const { from, to, listener } = this.#target;
    const reason = judge(answer, this.#fd, from, to, listener, (i) => this.#context.listenerName(i));
    return reason === undefined ? "done" : this.#fail(reason);
  }

  expired(): Step {
    const step = this.#fault();
    if (step !== "keep") return step;
    return this.#retriesLeft-- > 0 ? "again" : this.#fail(timedOut(this.#context.timeoutMs));
  }

  /** What the socket was told, before `error`, which only says that it was. */
  #fault(error?: unknown): Step {
    const fault = takeFault(this.#fd);
    if (fault !== undefined) {
      const { reporter } = fault;
      return this.#fail(reasonOfErrno(fault.errno, reporter && this.#context.nameOf(reporter)));
    }
    return error === undefined ? "keep" : this.#fail(reasonOf(error));
  }

  #fail(reason: Reason): Step {
    this.#context.failed(this.#target, "tcp", reason);
    return "done";
  }
}
