/** What the loop drives: a probe is one socket in the source's namespace and a small state machine. */
import type { Family, IpAddress } from "@weft/base";
import type { NetnsHandle } from "@weft/kernel/netns";
import type { Endpoint } from "./endpoints.ts";
import type { Reason } from "./explain.ts";
import type { Listener } from "./listeners.ts";
import type { ProbeKind } from "./types.ts";

/** What is next: "done"; "again" with a fresh socket; "keep" the deadline; or a new one, in milliseconds from now. */
export type Step = "done" | "again" | "keep" | number;

export interface Probe {
  readonly namespace: NetnsHandle;
  readonly family: Family;
  /** SOCK.stream or SOCK.dgram. */
  readonly socketType: number;
  /** Begins on a fresh nonblocking socket, which the loop closes when the probe is done. */
  begin(fd: number): Step;
  /** The socket can be read, or has an error. */
  ready(): Step;
  /** The deadline has passed, and nothing is waiting to be read. */
  expired(): Step;
}

/** One address of one destination, as one source sees it. */
export interface Target {
  readonly namespace: NetnsHandle;
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly family: Family;
  readonly address: IpAddress;
  readonly listener: Listener;
}

/** What all probes of a run share. */
export interface ProbeContext {
  readonly token: Uint8Array;
  readonly timeoutMs: number;
  readonly retries: number;
  listenerName(index: number): string | undefined;
  /** Who sent an ICMP message: "node1 (10.0.0.1)", "its gateway (fe80::1)", or the address alone. */
  nameOf(address: IpAddress): string;
  /** Counts an exchange begun. */
  begun(): void;
  failed(target: Target, probe: ProbeKind, reason: Reason): void;
}
