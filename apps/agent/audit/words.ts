/** What the audit says to people: in logs, events and status. */
import type { EventInput, ObjectReference } from "@weft/cluster/client";
import type { FormerHolder } from "@weft/ipam";
import type { AddressOrigin, AuditFinding, LeakCode, Reclaimed, Workload } from "@weft/model";

export const originOfWorkload = (w: Workload, node: string): AddressOrigin => ({
  node,
  pod: podOf(w),
  podUid: w.podUid,
  containerId: w.containerId,
  interface: w.interface,
  since: w.since,
});

const podOf = (w: Pick<Workload, "podNamespace" | "podName">): string | undefined =>
  w.podName === undefined ? undefined : `${w.podNamespace ?? "default"}/${w.podName}`;

/** "pod shop/web", or "container 3f2a9c01b7de" of one that is none. */
export const objectOf = (w: Workload): string => {
  const pod = podOf(w);
  return pod === undefined ? `container ${short(w.containerId)}` : `pod ${pod}`;
};

const short = (id: string): string => id.slice(0, 12);

export const WHY: Readonly<Record<LeakCode, string>> = {
  "half-done": "an ADD or DEL of it ended in the middle",
  "namespace-gone": "its network namespace is gone",
  "pod-gone": "the API has no such pod any more, and nothing of its sandbox lives",
  superseded: "the same pod has another sandbox, and nothing of this one lives",
  released: "somebody released it by hand",
};

/** What whoever runs the node should know beyond the reason. */
const ADVICE: Readonly<Record<LeakCode, string>> = {
  "half-done": "The agent or the runtime was stopped meanwhile; nothing is to be done.",
  "namespace-gone": "The runtime never sent DEL: if this repeats, look at its log.",
  "pod-gone": "The runtime has forgotten its sandbox: if this repeats, look at its log.",
  superseded: "The runtime has forgotten the earlier sandbox: if this repeats, look at its log.",
  released: "",
};

const time = (ms: number): string => new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");

/** "pod shop/web (container 3f2a9c01b7de, eth0, since 2026-11-28T17:00:00Z)" */
export function originText(o: AddressOrigin): string {
  const parts = [
    ...(o.pod === undefined || o.containerId === undefined ? [] : [`container ${short(o.containerId)}`]),
    ...(o.interface === undefined ? [] : [o.interface]),
    ...(o.since === undefined ? [] : [`since ${time(o.since)}`]),
  ];
  const who =
    o.pod !== undefined
      ? `pod ${o.pod}`
      : o.containerId === undefined
        ? `node ${o.node}`
        : `container ${short(o.containerId)}`;
  return parts.length === 0 ? who : `${who} (${parts.join(", ")})`;
}

export function reclaimedNote({ addresses, origin, why, code }: Reclaimed): string {
  const what = addresses.length === 1 ? "is" : "are";
  const text = `${addresses.join(", ")} of ${originText(origin)} on node ${origin.node} ${what} free again: ${why}.`;
  return `${text} ${ADVICE[code]}`.trim();
}

/** One about the pod, where there was one, and one about the node. */
export function reclaimedEvents(reclaimed: Reclaimed): EventInput[] {
  const { code, origin } = reclaimed;
  const pod = podReference(origin);
  const common = {
    type: code === "half-done" || code === "released" ? ("Normal" as const) : ("Warning" as const),
    reason: "AddressReclaimed",
    action: "Reclaiming",
    note: reclaimedNote(reclaimed),
  };
  const about = related(origin, pod);
  return [
    ...(pod === undefined ? [] : [{ ...common, regarding: pod }]),
    { ...common, regarding: nodeReference(origin.node), ...(about === undefined ? {} : { related: about }) },
  ];
}

/** Of what a person has to look at. */
export function findingEvents(finding: AuditFinding, node: string): EventInput[] {
  const pod = finding.origin === undefined ? undefined : podReference(finding.origin);
  const common = {
    type: "Warning" as const,
    reason:
      finding.code === "sandbox-lives" || finding.code === "unseen" ? "AddressNotReclaimed" : "AddressFault",
    action: "Auditing",
    note: `${findingText(finding)} on node ${node}. ${finding.remedy}`,
  };
  const about = finding.origin === undefined ? undefined : related(finding.origin, pod);
  return [
    ...(pod === undefined ? [] : [{ ...common, regarding: pod }]),
    { ...common, regarding: nodeReference(node), ...(about === undefined ? {} : { related: about }) },
  ];
}

export const findingText = ({ object, message, addresses }: AuditFinding): string =>
  `${object}${addresses.length === 0 ? "" : ` (${addresses.join(", ")})`}: ${message}`;

/** A link or a route that nobody asked for, which is being removed. */
export function leftoverEvent(node: string, note: string): EventInput {
  return {
    regarding: nodeReference(node),
    type: "Warning",
    reason: "LeftoverRemoved",
    action: "Repairing",
    note,
  };
}

export const formerText = (f: FormerHolder, node: string): string =>
  `${originText({
    node,
    pod: podOf(f),
    podUid: f.podUid,
    containerId: f.containerId,
    interface: f.interface,
    since: f.since,
  })}, until ${time(f.until)}`;

/** The kubelet's events about a node have its name as the uid, and kubectl describe looks for that. */
const nodeReference = (name: string): ObjectReference => ({
  apiVersion: "v1",
  kind: "Node",
  name,
  uid: name,
});

function podReference({ pod, podUid }: AddressOrigin): ObjectReference | undefined {
  const [namespace, name] = pod?.split("/") ?? [];
  if (namespace === undefined || name === undefined) return undefined;
  return { apiVersion: "v1", kind: "Pod", namespace, name, ...(podUid === undefined ? {} : { uid: podUid }) };
}

/** Tells events of one node about several attachments apart. */
const related = (o: AddressOrigin, pod: ObjectReference | undefined): ObjectReference | undefined =>
  pod ??
  (o.containerId === undefined ? undefined : { apiVersion: "v1", kind: "Container", name: o.containerId });
