/**
 * What a node's audit of addresses says: addresses that are held for nobody, and what is used that nobody holds. Each finding
 * says where the address came from, what does not fit together, and what becomes of it.
 */
import type { IpAddress } from "@weft/base";

/** Why the ledger's entry of an attachment is given up. */
export type LeakCode =
  /** An ADD or a DEL ended in the middle. */
  | "half-done"
  /** The network namespace is gone, or its path names another one. */
  | "namespace-gone"
  /** The API has no such pod any more, and nothing of its sandbox lives. */
  | "pod-gone"
  /** The same pod has a newer sandbox, or is kept from one by this one's host ports, and nothing of this one lives. */
  | "superseded"
  /** A person asked for it. */
  | "released";

export type FindingCode =
  | LeakCode
  /** It should go, and cannot be taken away yet. */
  | "stuck"
  /** Its pod is gone, and its sandbox lives: the address stays until that ends. */
  | "sandbox-lives"
  /** Its pod is gone, and this agent cannot see whether anything of its sandbox lives. */
  | "unseen"
  /** A link or route of ours that no attachment explains. */
  | "link-unexplained"
  | "link-missing"
  /** An address inside of a pod that was not given to it, or one that was and is not there. */
  | "foreign-inside"
  | "missing-inside"
  /** A lease outside of every block of this node. */
  | "outside-blocks"
  | "address-twice"
  /** Loans between nodes: in the ledger and not in the object, in the object and not in the ledger, borrowed and unused. */
  | "loan-unknown"
  | "loan-not-held"
  | "loan-unused"
  /** The copy of the ledger in an IPBlock's status says something else. */
  | "mirror-differs";

/** Whose an address is or was. */
export interface AddressOrigin {
  readonly node: string;
  /** "namespace/name"; undefined of a container that is no pod. */
  readonly pod: string | undefined;
  readonly podUid: string | undefined;
  readonly containerId: string | undefined;
  readonly interface: string | undefined;
  /** Since when it has had the address, milliseconds since the epoch. */
  readonly since: number | undefined;
}

export interface AuditFinding {
  /** The same as long as it is the same finding. */
  readonly key: string;
  readonly code: FindingCode;
  /** As its users name it: "pod shop/web", "link weft0123456789a", "IPBlock 10-244-3-0-26". */
  readonly object: string;
  readonly addresses: readonly IpAddress[];
  /** What does not fit together, in one sentence without a full stop. */
  readonly message: string;
  /** What becomes of it, or what a person should do: a full sentence. */
  readonly remedy: string;
  readonly origin: AddressOrigin | undefined;
  /** When this agent saw it first, milliseconds since the epoch. */
  readonly since: number;
  /** When it is put right, if nothing changes until then; undefined: not at a certain time. */
  readonly due: number | undefined;
  /** It stays until a person does something. */
  readonly needsPerson: boolean;
}

/** An attachment whose addresses came back without a DEL. */
export interface Reclaimed {
  readonly code: LeakCode;
  readonly addresses: readonly IpAddress[];
  readonly origin: AddressOrigin;
  /** In words: "its network namespace is gone". */
  readonly why: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export interface AuditStatus {
  /** End of the last round, milliseconds since the epoch; undefined: there was none yet. */
  readonly lastRun: number | undefined;
  readonly rounds: number;
  /** Milliseconds that the last round took of the main thread, in slices between which others run. */
  readonly lastCost: number;
  /** The longest of these slices since the agent started, milliseconds. */
  readonly longestSlice: number;
  /** Settings: how long an attachment whose pod is gone from the API alone is left alone, seconds. */
  readonly leakGrace: number;
  /** Why the last round could not look, if it could not. */
  readonly error: string | undefined;
  readonly findings: readonly AuditFinding[];
  /** Attachments whose addresses were reclaimed since the agent started, by reason. */
  readonly reclaimed: Readonly<Partial<Record<LeakCode, number>>>;
  /** Links and routes that nobody asked for, removed since the agent started. */
  readonly leftovers: number;
  /** The last attachments whose addresses were reclaimed, the latest first. */
  readonly recent: readonly Reclaimed[];
}
