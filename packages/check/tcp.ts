/** The TCP probe: connect, read the listener's answer, compare the address it saw with the socket's own. */
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

  constructor(context: ProbeContext, target: Target) {
    this.#context = context;
    this.#target = target;
    this.namespace = target.namespace;
    this.family = target.family;
  }

  begin(fd: number): Step {
    this.#fd = fd;
    this.#context.begun();
    try {
      setOptionBytes(fd, SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE);
      connectSocket(fd, this.#target.listener.tcp);
    } catch (error) {
      return this.#fail(reasonOf(error));
    }
    return this.#context.timeoutMs;
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
    return step === "keep" ? this.#fail(timedOut(this.#context.timeoutMs)) : step;
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
