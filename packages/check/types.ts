/** What `checkNetwork` is told and what it answers. The report is plain data: its JSON is the report itself. */
import type { Family, IpAddress } from "@weft/base";

export interface CheckNode {
  readonly name: string;
  /** "/run/netns/node1", "/proc/1/ns/net". */
  readonly namespacePath: string;
  /** Where other nodes reach it. */
  readonly addresses: readonly IpAddress[];
}

export interface CheckPod {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  /** The pod lives in its node's network namespace; `namespacePath` and `mtu` are then not used. */
  readonly hostNetwork: boolean;
  readonly namespacePath: string;
  readonly interface: string;
  readonly addresses: readonly IpAddress[];
  /** Bytes of the largest IP packet that the pod was promised. */
  readonly mtu: number;
}

/** A counter of packets with a pod's address seen on the fabric outside of any tunnel. */
export interface PacketCounter {
  readonly name: string;
  readonly packets: number;
}

/** Where a planned row comes from: the object and the field of it that asked. */
export interface DriftOrigin {
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  readonly field?: string;
}

/** Something in a node's kernel that differs from the plan. */
export interface CheckDrift {
  readonly node: string;
  readonly kind: string;
  readonly key: string;
  readonly difference: string;
  readonly origin?: DriftOrigin | undefined;
}

/** A base chain of somebody else's in a node's packet filter. */
export interface CheckForeignChain {
  readonly node: string;
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly hook: string;
  readonly priority: number;
  readonly policy: string | undefined;
  readonly hasDropRules: boolean;
}

export interface CheckInput {
  readonly nodes: readonly CheckNode[];
  readonly pods: readonly CheckPod[];
  /** Read before and after the probes; no counter may rise. */
  readonly barePackets?: () => readonly PacketCounter[];
  /** What differs from the plan, asked once before the probes. */
  readonly drift?: () => Promise<readonly CheckDrift[]>;
  readonly foreignChains?: readonly CheckForeignChain[];
}

export interface CheckProgress {
  readonly done: number;
  readonly total: number;
  readonly elapsedMs: number;
}

export interface CheckOptions {
  /** Milliseconds that one probe waits for its answer. Default 1000. */
  readonly timeoutMs?: number;
  /** Times that an unanswered datagram is sent, or connection made, again within the timeout. Default 1. */
  readonly retries?: number;
  /** Sockets in flight, not counting those that only wait for their timeout. Default 256. */
  readonly concurrency?: number;
  /** More pairs than this are sampled. Default 4000. */
  readonly maxPairs?: number;
  /** Of the sample: the same seed and endpoints choose the same pairs. Default 1. */
  readonly seed?: number;
  /** Called about twice a second, and never in the first second. */
  readonly onProgress?: (progress: CheckProgress) => void;
}

export type EndpointKind = "node" | "pod" | "host-pod";

export interface EndpointSummary {
  /** "node1" of a node, "namespace/name" of a pod: unique. */
  readonly name: string;
  readonly kind: EndpointKind;
  readonly node: string;
  readonly addresses: readonly IpAddress[];
}

export type ProbeKind = "tcp" | "udp" | "mtu" | "mtu+1";

export interface CheckFailure {
  readonly from: string;
  readonly to: string;
  readonly family: Family;
  /** Destination address of the probe. */
  readonly address: IpAddress;
  readonly probe: ProbeKind;
  readonly message: string;
  readonly hint?: string;
}

/** Something that kept the check from testing all it should. */
export interface SetupError {
  /** Name of the endpoint, or of what was to be read: "node1", "drift". */
  readonly subject: string;
  readonly message: string;
  readonly hint?: string;
}

export interface MatrixCell {
  /** Pairs behind the cell that were probed, and how many of them failed. */
  readonly tested: number;
  readonly failed: number;
  /** What failed in at least one of them: "4t 6um". Empty when all is well. */
  readonly marks: string;
}

export interface Matrix {
  /** Rows and columns are endpoints, or nodes when there are more than 20 endpoints. */
  readonly by: "endpoint" | "node";
  readonly names: readonly string[];
  /** cells[source][destination]. */
  readonly cells: readonly (readonly MatrixCell[])[];
}

export interface CheckReport {
  /** No probe failed, everything could be tested, no bare packet was counted. */
  readonly ok: boolean;
  /** ISO 8601. */
  readonly started: string;
  readonly durationMs: number;
  readonly endpoints: readonly EndpointSummary[];
  readonly pairs: {
    /** Ordered pairs that were probed. */
    readonly tested: number;
    /** Ordered pairs of endpoints that share a family. */
    readonly total: number;
    readonly sampled: boolean;
    /** Exchanges of any kind. */
    readonly probes: number;
  };
  readonly failures: readonly CheckFailure[];
  readonly matrix: Matrix;
  /** Increase of each counter during the check; undefined when there were none to read. */
  readonly barePackets: readonly PacketCounter[] | undefined;
  /** undefined when nobody was asked. */
  readonly drift: readonly CheckDrift[] | undefined;
  /** Chains that can drop; an accept elsewhere does not override them. */
  readonly foreignChains: readonly CheckForeignChain[];
  readonly setupErrors: readonly SetupError[];
}
