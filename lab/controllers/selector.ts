/** Selectors of labels and of nodes (Kubernetes documentation, "Labels and Selectors", "Assigning Pods to Nodes"). Pure. */
import type { Expression, LabelSelector, Labels, NodeObject, NodeTerm, PodSpec } from "./objects.ts";

/** An empty selector selects everything. */
export function selects(selector: LabelSelector | undefined, labels: Labels | undefined): boolean {
  if (selector === undefined) return false;
  return (
    Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels?.[key] === value) &&
    (selector.matchExpressions ?? []).every((e) => holds(e, labels?.[e.key]))
  );
}

/** A Service's selector: an empty one selects nothing. */
export function selectsAll(selector: Labels | undefined, labels: Labels | undefined): boolean {
  const entries = Object.entries(selector ?? {});
  return entries.length > 0 && entries.every(([key, value]) => labels?.[key] === value);
}

/** True when the node has what nodeSelector and required node affinity ask for. */
export function nodeMatches(spec: PodSpec, node: NodeObject): boolean {
  const labels = node.metadata.labels ?? {};
  if (!Object.entries(spec.nodeSelector ?? {}).every(([key, value]) => labels[key] === value)) return false;
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return required === undefined || required.nodeSelectorTerms.some((term) => termMatches(term, node));
}

/** A term without any expression matches no node. */
function termMatches({ matchExpressions = [], matchFields = [] }: NodeTerm, node: NodeObject): boolean {
  if (matchExpressions.length + matchFields.length === 0) return false;
  const labels = node.metadata.labels ?? {};
  return (
    matchExpressions.every((e) => holds(e, labels[e.key])) &&
    matchFields.every((e) => holds(e, e.key === "metadata.name" ? node.metadata.name : undefined))
  );
}

function holds({ operator, values = [] }: Expression, value: string | undefined): boolean {
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "Gt":
    case "Lt": {
      const [number, bound] = [integer(value), integer(values[0])];
      return operator === "Gt" ? number > bound : number < bound;
    }
    default:
      return false;
  }
}

/** NaN, which is neither greater nor less, for what is no whole number. */
const integer = (text: string | undefined): number =>
  /^[+-]?\d+$/.test(text ?? "") ? Number(text) : Number.NaN;
