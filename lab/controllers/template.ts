/**
 * Pod templates of a Deployment: which ReplicaSet is of which template, and the label that tells their pods apart. Pure.
 */
import { createHash } from "node:crypto";
import { type DeploymentObject, equal, type PodTemplate, type ReplicaSetObject, timeOf } from "./objects.ts";

export const HASH_LABEL = "pod-template-hash";
/** Characters that make no words. */
const ALPHABET = "bcdfghjklmnpqrstvwxz2456789";
const LENGTH = 10;

/** The same for the same template; another one for each count of collisions. */
export function templateHash(template: PodTemplate, collisions: number): string {
  const digest = createHash("sha256")
    .update(`${canonical(template)} ${collisions}`)
    .digest();
  return [...digest.subarray(0, LENGTH)].map((byte) => ALPHABET[byte % ALPHABET.length]).join("");
}

/** JSON with the fields of every mapping in the order of their names. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const entries = Object.entries(value)
    .filter(([, held]) => held !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, held]) => `${JSON.stringify(key)}:${canonical(held)}`).join()}}`;
}

/** The ReplicaSet of the Deployment's own template; the oldest, should there be several. */
export function newSetOf(
  { spec }: DeploymentObject,
  sets: readonly ReplicaSetObject[],
): ReplicaSetObject | undefined {
  return byAge(sets).find((set) => sameTemplate(set.spec.template, spec.template));
}

export const byAge = (sets: readonly ReplicaSetObject[]): readonly ReplicaSetObject[] =>
  sets.toSorted(
    (a, b) =>
      timeOf(a.metadata.creationTimestamp) - timeOf(b.metadata.creationTimestamp) ||
      (a.metadata.name < b.metadata.name ? -1 : 1),
  );

/** Apart from the label that the Deployment itself adds. */
export function sameTemplate(a: PodTemplate, b: PodTemplate): boolean {
  const plain = ({ metadata, ...rest }: PodTemplate): object => {
    const { [HASH_LABEL]: _, ...labels } = metadata?.labels ?? {};
    const { creationTimestamp: __, ...others } = metadata ?? {};
    return { ...rest, metadata: { ...others, labels } };
  };
  return equal(plain(a), plain(b));
}
