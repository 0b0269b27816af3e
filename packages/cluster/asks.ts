/** Annotations of pods and namespaces that say where addresses come from. */
import { describeError, familyOf, type IpAddress, parseIp } from "@weft/base";
import { ADDRESSES_ANNOTATION, type AddressRequest, POOLS_ANNOTATION } from "@weft/model";
import { isMapping } from "./field.ts";
import { subdomainFault } from "./names.ts";

/**
 * Undefined when there is neither annotation. What is wrong with them is in `problem` and no fault of the object, which is
 * there all the same; it gets no address.
 */
export function readAsks(annotations: unknown, withAddresses: boolean): AddressRequest | undefined {
  if (!isMapping(annotations)) return undefined;
  const given = {
    pools: annotations[POOLS_ANNOTATION],
    addresses: withAddresses ? annotations[ADDRESSES_ANNOTATION] : undefined,
  };
  if (given.pools === undefined && given.addresses === undefined) return undefined;
  const problems: string[] = [];
  const pools = parts(POOLS_ANNOTATION, given.pools, "a name of an IPPool", problems);
  for (const name of pools) {
    const why = subdomainFault(name);
    if (why !== undefined) problems.push(`annotation ${POOLS_ANNOTATION}: ${JSON.stringify(name)}: ${why}`);
  }
  const addresses: IpAddress[] = [];
  for (const text of parts(ADDRESSES_ANNOTATION, given.addresses, "an address", problems)) {
    try {
      const ip = parseIp(text);
      const other = addresses.find((a) => familyOf(a) === familyOf(ip));
      if (other === undefined) addresses.push(ip);
      else problems.push(`annotation ${ADDRESSES_ANNOTATION}: ${other} and ${ip} are of one family`);
    } catch (error) {
      problems.push(`annotation ${ADDRESSES_ANNOTATION}: ${describeError(error)}`);
    }
  }
  return { pools, addresses, problem: problems.length === 0 ? undefined : problems.join("; ") };
}

/** Between commas, each once. */
function parts(annotation: string, value: unknown, what: string, problems: string[]): string[] {
  if (value === undefined) return [];
  const found = typeof value === "string" ? value.split(",").map((part) => part.trim()) : [""];
  if (found.some((part) => part === "")) {
    problems.push(`annotation ${annotation}: ${what} is empty: write them with commas in between`);
  }
  return [...new Set(found.filter((part) => part !== ""))];
}
