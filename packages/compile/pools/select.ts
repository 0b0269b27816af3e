/**
 * Which pools a pod gets its addresses from, of each family by itself:
 *
 *   the pod's annotation, if it names pools of that family
 *   else its namespace's annotation, likewise
 *   else all pools that are usable on the node and whose namespace selector has the namespace, the oldest first
 *   else none: the family comes from the node's podCIDRs
 *
 * A list is an order: what is not usable is passed over as long as another one of the list is. When none is, the pod gets
 * no address, and the reasons are said: whoever names a pool wants no other one.
 */
import { type Family, familyOf } from "@weft/base";
import type { AddressRequest, IpPool, PodAddressing, Selector } from "@weft/model";

export type Labels = Readonly<Record<string, string>>;

/** As labels and annotations of a Namespace have it. */
export interface NamespaceAddressing {
  readonly name: string;
  readonly labels: Labels;
  readonly asks?: AddressRequest;
}

/** What is the same for all pods of a node. */
export interface Selection {
  /** All of them, whatever their state. */
  readonly pools: readonly IpPool[];
  /** Labels of the node. */
  readonly labels: Labels;
}

/** What a pod gets in a cluster without pools that asks for nothing. */
export const PLAIN: PodAddressing = { pools: {}, wanted: [], problem: undefined };

const FAMILIES: readonly Family[] = [4, 6];

/** As Kubernetes matches: NotIn also where the label is absent. */
export function matches(selector: Selector, labels: Labels): boolean {
  return selector.every(({ key, operator, values }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    if (operator === "Exists") return value !== undefined;
    if (operator === "DoesNotExist") return value === undefined;
    const isOne = value !== undefined && values.includes(value);
    return operator === "In" ? isOne : !isOne;
  });
}

/** Why no address of the pool is given out on a node with these labels; undefined when it may be. */
export function unusable(pool: IpPool, labels: Labels): string | undefined {
  if (pool.disabled) return `pool ${pool.name} is disabled, or being deleted`;
  if (!pool.ready) return `pool ${pool.name} is not ready`;
  if (!matches(pool.nodeSelector, labels))
    return `pool ${pool.name} is not for this node (spec.nodeSelector)`;
  return undefined;
}

/** Pools that addresses may be taken from, the oldest first. */
export const usablePools = ({ pools, labels }: Selection): IpPool[] =>
  pools.filter((pool) => unusable(pool, labels) === undefined).sort(byAge);

const byAge = (a: IpPool, b: IpPool): number => a.created - b.created || (a.name < b.name ? -1 : 1);

/** `pod` and `namespace` undefined: nothing is known of them. */
export function podAddressing(
  selection: Selection,
  pod: AddressRequest | undefined,
  namespace: NamespaceAddressing | undefined,
): PodAddressing {
  const { asks, labels = {}, name } = namespace ?? {};
  const problems: string[] = [];
  if (pod?.problem !== undefined) problems.push(pod.problem);
  if (asks?.problem !== undefined) problems.push(`Namespace ${name}: ${asks.problem}`);
  const general = usablePools(selection).filter((pool) => matches(pool.namespaceSelector, labels));
  const ofPod = resolve(selection, pod?.pools ?? []);
  const ofNamespace = resolve(selection, asks?.pools ?? []);
  const pools: Partial<Record<Family, readonly string[]>> = {};
  for (const family of FAMILIES) {
    const named = ofPod.families.get(family) ?? ofNamespace.families.get(family);
    const names = named?.usable ?? general.filter(isOf(family)).map((p) => p.name);
    if (named?.usable.length === 0) problems.push(...named.reasons);
    if (names.length > 0) pools[family] = names;
  }
  problems.push(...ofPod.unknown, ...ofNamespace.unknown);
  const problem = problems.length === 0 ? undefined : [...new Set(problems)].join("; ");
  return { pools, wanted: pod?.addresses ?? [], problem };
}

interface Resolved {
  /** Of each family that a pool of the list is of. */
  readonly families: ReadonlyMap<Family, { readonly usable: string[]; readonly reasons: string[] }>;
  /** Why none of the list can be used, if it has names that nobody knows and nothing else. */
  readonly unknown: readonly string[];
}

function resolve(selection: Selection, names: readonly string[]): Resolved {
  const families = new Map<Family, { usable: string[]; reasons: string[] }>();
  const unknown: string[] = [];
  for (const name of names) {
    const pool = selection.pools.find((p) => p.name === name);
    if (pool === undefined) {
      unknown.push(`there is no pool ${name}`);
      continue;
    }
    const family = familyOf(pool.cidr);
    const entry = families.get(family) ?? { usable: [], reasons: [] };
    families.set(family, entry);
    const why = unusable(pool, selection.labels);
    if (why === undefined) entry.usable.push(name);
    else entry.reasons.push(why);
  }
  return { families, unknown: families.size === 0 ? unknown : [] };
}

const isOf =
  (family: Family) =>
  ({ cidr }: IpPool): boolean =>
    familyOf(cidr) === family;
