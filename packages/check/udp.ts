/**
 * The UDP exchange: up to three stages on one connected socket.
 *
 *     udp     a small datagram is answered, and by whom it was seen is compared as for TCP
 *     mtu     a datagram that makes an IP packet of exactly the pod MTU is answered
 *     mtu+1   one byte more does not arrive
 *
 * The last two are for pairs with a promised MTU, and only once the first has passed: otherwise they would say the
 * same again. Their packets are sent with DF and with PMTUDISC_PROBE, which tries what the link takes, whatever was
 * learnt of the path before.
 */
import type { Family } from "@weft/base";
import type { NetnsHandle } from "@weft/kernel/netns";
import {
  connectSocket,
  getOption,
  hasErrno,
  IP,
  IPPROTO,
  IPV6,
  PMTUDISC_PROBE,
  receiveBytes,
  SOCK,
  type SocketFault,
  sendBytes,
  setOption,
  sysError,
  takeFault,
} from "@weft/kernel/sys";
import { durationText, judge, type Reason, reasonOf, reasonOfErrno, timedOut } from "./explain.ts";
import { type Answer, decodeAnswer, encodeRequest, REQUEST_BYTES } from "./message.ts";
import type { Probe, ProbeContext, Step, Target } from "./probe.ts";
import type { ProbeKind } from "./types.ts";

const STAGES: readonly ProbeKind[] = ["udp", "mtu", "mtu+1"];
/** IP and UDP header: what a packet has besides its payload. */
const headers = (family: Family): number => (family === 4 ? 20 : 40) + 8;
/** Least time that a packet which should not arrive is waited for; more where the path is slow. */
const ABSENCE_MS = 100;
const ABSENCE_ROUND_TRIPS = 10;
const LARGEST_PACKET = 65535;

const buffer = Buffer.alloc(64);

export class UdpProbe implements Probe {
  readonly namespace: NetnsHandle;
  readonly family: Family;
  readonly socketType = SOCK.dgram;
  readonly #context: ProbeContext;
  readonly #target: Target;
  readonly #id: number;
  readonly #mtu: number | undefined;
  #fd = -1;
  #stage = 0;
  #retriesLeft = 0;
  #sentAt = 0;
  #roundTripMs = 0;
  #arrived = false;
  #unanswered: unknown;

  /** `mtu`: bytes of the largest packet promised between the two; undefined leaves the last two stages out. */
  constructor(context: ProbeContext, target: Target, id: number, mtu: number | undefined) {
    this.#context = context;
    this.#target = target;
    this.#id = id;
    this.#mtu = mtu;
    this.namespace = target.namespace;
    this.family = target.family;
  }

  begin(fd: number): Step {
    this.#fd = fd;
    try {
      reportErrors(fd, this.family);
      if (this.#mtu !== undefined) setDontFragment(fd, this.family);
      connectSocket(fd, this.#target.listener.udp);
    } catch (error) {
      this.#context.begun();
      return this.#fail(reasonOf(error));
    }
    return this.#enter(0);
  }

  ready(): Step {
    for (;;) {
      let length: number | undefined;
      try {
        length = receiveBytes(this.#fd, buffer);
      } catch (error) {
        return this.#refused(error, takeFault(this.#fd));
      }
      if (length === undefined) {
        const fault = takeFault(this.#fd);
        return fault === undefined ? "keep" : this.#refused(sysError("recv", fault.errno), fault);
      }
      const answer = decodeAnswer(this.#context.token, buffer.subarray(0, Math.min(length, buffer.length)));
      // Answers to a datagram that was sent twice come twice.
      if (answer?.probe === this.#id && answer.stage === this.#stage) return this.#answered(answer);
    }
  }

  expired(): Step {
    if (this.#stage === 2) return this.#arrived ? this.#fail(this.#tooLarge()) : "done";
    if (this.#retriesLeft > 0) {
      this.#retriesLeft--;
      return this.#send();
    }
    if (this.#unanswered !== undefined) {
      const { message, hint } = reasonOf(this.#unanswered);
      return this.#fail({
        message: `${this.#target.to.name} got the packet but cannot answer: ${message}`,
        ...(hint === undefined ? {} : { hint }),
      });
    }
    if (this.#arrived) {
      return this.#fail({
        message: `the packet arrived, its answer did not within ${durationText(this.#context.timeoutMs)}`,
        hint: "The way there is well, the way back is not: follow it from the destination with ip route get.",
      });
    }
    return this.#fail(this.#stage === 0 ? timedOut(this.#context.timeoutMs) : this.#tooSmall());
  }

  /** A request of that stage has reached the listener. */
  arrived(stage: number): void {
    if (stage === this.#stage) this.#arrived = true;
  }

  unanswered(stage: number, reason: unknown): void {
    if (stage === this.#stage) this.#unanswered = reason;
  }

  #enter(stage: number): Step {
    this.#stage = stage;
    this.#arrived = false;
    this.#unanswered = undefined;
    this.#retriesLeft = stage === 2 ? 0 : this.#context.retries;
    this.#context.begun();
    return this.#send();
  }

  #send(): Step {
    const length = this.#stage === 0 ? REQUEST_BYTES : this.#packetBytes() - headers(this.family);
    const { token, timeoutMs, retries } = this.#context;
    this.#sentAt = performance.now();
    try {
      sendBytes(this.#fd, encodeRequest(token, { probe: this.#id, stage: this.#stage }, length));
    } catch (error) {
      return this.#refused(error);
    }
    if (this.#stage < 2) return timeoutMs / (retries + 1);
    return Math.min(timeoutMs, Math.max(ABSENCE_MS, this.#roundTripMs * ABSENCE_ROUND_TRIPS));
  }

  #answered(answer: Answer): Step {
    if (this.#stage === 2) return this.#fail(this.#tooLarge());
    this.#roundTripMs = performance.now() - this.#sentAt;
    const { from, to, listener } = this.#target;
    const reason = judge(answer, this.#fd, from, to, listener, (i) => this.#context.listenerName(i));
    if (reason !== undefined) return this.#fail(reason);
    if (this.#mtu === undefined || (this.#stage === 1 && this.#mtu === LARGEST_PACKET)) return "done";
    return this.#enter(this.#stage + 1);
  }

  /** The kernel refused to send, or an ICMP error came back. */
  #refused(error: unknown, fault?: SocketFault): Step {
    if (this.#stage === 2) return this.#arrived ? this.#fail(this.#tooLarge()) : "done";
    const reporter = fault?.reporter === undefined ? undefined : this.#context.nameOf(fault.reporter);
    if (this.#stage === 1 && hasErrno(error, "EMSGSIZE")) {
      return this.#fail(
        reporter === undefined ? this.#tooSmallHere() : this.#tooSmall(reporter, fault?.info),
      );
    }
    return this.#fail(fault === undefined ? reasonOf(error) : reasonOfErrno(fault.errno, reporter));
  }

  #packetBytes(): number {
    return (this.#mtu ?? 0) + (this.#stage === 2 ? 1 : 0);
  }

  /** `reporter` is the router whose link takes fewer bytes, if one has said so. */
  #tooSmall(reporter?: string, allowed = 0): Reason {
    const said = reporter === undefined ? "" : `: ${reporter} lets only ${allowed} through`;
    return {
      message: `a packet of ${this.#mtu} bytes (the pod MTU) does not get through${said}`,
      hint: "A link on the path has a smaller MTU than the pods: look at the underlay links and the tunnel (ip link).",
    };
  }

  #tooSmallHere(): Reason {
    const { interface: link, name } = this.#target.from;
    const allowed = linkMtu(this.#fd, this.family);
    const less = allowed === undefined || allowed >= this.#packetBytes() ? "fewer" : `only ${allowed}`;
    return {
      message: `a packet of ${this.#mtu} bytes (the pod MTU) does not get out: ${link ?? "the interface"} of ${name} takes ${less}`,
      hint: "The MTU in the pod is not the one it was promised, or a route there has a smaller one: ip link, ip route.",
    };
  }

  #tooLarge(): Reason {
    const { from, to } = this.#target;
    const smaller = (to.mtu ?? LARGEST_PACKET) < (from.mtu ?? LARGEST_PACKET) ? to : from;
    return {
      message: `a packet of ${this.#packetBytes()} bytes arrives: MTU of the interface is larger than promised (${this.#mtu})`,
      hint: `Look at the MTU of ${smaller.interface ?? "the interface"} in ${smaller.name}: ip link.`,
    };
  }

  #fail(reason: Reason): Step {
    this.#context.failed(this.#target, STAGES[this.#stage]!, reason);
    return "done";
  }
}

/** Makes ICMP errors that UDP passes over ("no route") errors of the socket (ip(7) IP_RECVERR). */
function reportErrors(fd: number, family: Family): void {
  if (family === 4) setOption(fd, IPPROTO.ip, IP.receiveError, 1);
  else setOption(fd, IPPROTO.ipv6, IPV6.receiveError, 1);
}

function setDontFragment(fd: number, family: Family): void {
  if (family === 4) {
    setOption(fd, IPPROTO.ip, IP.mtuDiscover, PMTUDISC_PROBE);
  } else {
    setOption(fd, IPPROTO.ipv6, IPV6.mtuDiscover, PMTUDISC_PROBE);
    setOption(fd, IPPROTO.ipv6, IPV6.dontFragment, 1);
  }
}

/** What the kernel takes from a connected socket, in bytes. */
function linkMtu(fd: number, family: Family): number | undefined {
  try {
    return family === 4 ? getOption(fd, IPPROTO.ip, IP.mtu) : getOption(fd, IPPROTO.ipv6, IPV6.mtu);
  } catch {
    // The route has gone meanwhile: the number only adorns a message.
    return undefined;
  }
}
