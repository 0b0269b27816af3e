/**
 * Cluster addresses and node ports. Each that is taken is an object of its own in the store, written in the transaction
 * that writes the Service: two Services can never have one, whatever happens when.
 *
 * As in kube-apiserver, the lower part of a range is left to those who ask for an address by name: free choice begins
 * above, and comes down when nothing is left there. The network's own address and the first one (that of the API) are
 * never given out.
 */
import { addressAt, contains, familyOf, hostPrefix, isIp, parseIp, prefixSize } from "@weft/base";
import { Failure, invalid } from "../errors.ts";
import { Faults } from "../faults.ts";
import type { ServiceSettings } from "../resource.ts";
import type { Transaction } from "../storage/store.ts";
import { type ApiObject, items, type Mapping, mapping, mappings, text } from "../values.ts";

const ADDRESSES = "internal/addresses";
const NODE_PORTS = "internal/nodeports";
const SERVICE = { group: "", plural: "services", kind: "Service" };

export const hasNodePorts = (spec: Mapping): boolean =>
  spec["type"] === "NodePort" ||
  (spec["type"] === "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] !== false);

const familyName = (address: string): string => (familyOf(address) === 4 ? "IPv4" : "IPv6");
const rangeOf = (family: string, { ranges }: ServiceSettings): string | undefined =>
  ranges.find((range) => familyName(range.slice(0, range.indexOf("/"))) === family);

/** Sets ipFamilyPolicy and ipFamilies where they are not said. */
export function chooseFamilies(spec: Mapping, settings: ServiceSettings): void {
  if (spec["type"] === "ExternalName") return;
  const first = text(spec["clusterIP"]);
  if (first !== "" && items(spec["clusterIPs"]).length === 0) spec["clusterIPs"] = [first];
  if (first === "" && items(spec["clusterIPs"]).length > 0) spec["clusterIP"] = items(spec["clusterIPs"])[0];
  const asked = items(spec["clusterIPs"]).map(text);
  const own = settings.ranges.map((range) => familyName(range.slice(0, range.indexOf("/"))));
  const free = asked[0] === "None" && Object.keys(mapping(spec["selector"])).length === 0;
  if (spec["ipFamilyPolicy"] === undefined) {
    const two = asked.length > 1 || items(spec["ipFamilies"]).length > 1 || (free && own.length > 1);
    spec["ipFamilyPolicy"] = two ? "RequireDualStack" : "SingleStack";
  }
  const said = items(spec["ipFamilies"]).map(text);
  const families = said.length > 0 ? said : asked.filter(isIp).map(familyName);
  if (families.length === 0 && own[0] !== undefined) families.push(own[0]);
  const single = spec["ipFamilyPolicy"] === "SingleStack";
  const other = ["IPv4", "IPv6"].find((family) => family !== families[0]);
  if (!single && families.length === 1 && other !== undefined && own.includes(other)) families.push(other);
  spec["ipFamilies"] = single && said.length < 2 ? families.slice(0, 1) : families;
  // One family less than before: its address goes with it.
  if (single && asked.length > 1 && families.length > 1 && spec["clusterIPs"] !== undefined) {
    spec["ipFamilies"] = families.slice(0, 1);
    spec["clusterIPs"] = asked.slice(0, 1);
  }
}

/** Takes what the Service needs, and gives back what it had and no longer has. Throws 422. */
export function allocate(
  service: ApiObject,
  old: ApiObject | undefined,
  tx: Transaction,
  settings: ServiceSettings,
): void {
  const faults = new Faults();
  const spec = mapping(service["spec"]);
  const before = old === undefined ? empty() : heldBy(old);
  const owner = `${service.metadata.namespace}/${service.metadata.name}`;
  if (spec["type"] === "ExternalName") {
    for (const field of ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]) delete spec[field];
  } else allocateAddresses(spec, before.addresses, owner, tx, settings, faults);
  if (hasNodePorts(spec)) allocatePorts(spec, before.ports, owner, tx, settings, faults);
  if (faults.list.length > 0) throw invalid(SERVICE, service.metadata.name, faults.list);
  const after = heldBy(service);
  for (const address of before.addresses)
    if (!after.addresses.includes(address)) give(tx, ADDRESSES, address);
  for (const port of before.ports) if (!after.ports.includes(port)) give(tx, NODE_PORTS, port);
}

export function releaseAll(service: ApiObject, tx: Transaction): void {
  const { addresses, ports } = heldBy(service);
  for (const address of addresses) give(tx, ADDRESSES, address);
  for (const port of ports) give(tx, NODE_PORTS, port);
}

const empty = (): { addresses: string[]; ports: string[] } => ({ addresses: [], ports: [] });

function heldBy(service: ApiObject): { addresses: string[]; ports: string[] } {
  const spec = mapping(service["spec"]);
  return {
    addresses: items(spec["clusterIPs"]).map(text).filter(isIp).map(parseIp),
    ports: mappings(spec["ports"])
      .filter((port) => typeof port["nodePort"] === "number")
      .map((port) => `${text(port["protocol"])}/${String(port["nodePort"])}`),
  };
}

function allocateAddresses(
  spec: Mapping,
  held: readonly string[],
  owner: string,
  tx: Transaction,
  settings: ServiceSettings,
  faults: Faults,
): void {
  const families = items(spec["ipFamilies"]).map(text);
  const both = families.length > 1;
  const policy = spec["ipFamilyPolicy"];
  faults.oneOf("spec.ipFamilyPolicy", policy, ["PreferDualStack", "RequireDualStack", "SingleStack"]);
  if (policy === "RequireDualStack" && settings.ranges.length < 2) {
    faults.invalid("spec.ipFamilyPolicy", policy, "this cluster is not configured for dual-stack services");
  }
  if (policy === "SingleStack" && both) {
    faults.invalid(
      "spec.ipFamilyPolicy",
      policy,
      "must be RequireDualStack or PreferDualStack when multiple IP families are specified",
    );
  }
  for (const [i, family] of families.entries()) {
    if (rangeOf(family, settings) === undefined) {
      faults.invalid(`spec.ipFamilies[${i}]`, family, "not configured on this cluster");
    } else if (families.indexOf(family) !== i) faults.duplicate(`spec.ipFamilies[${i}]`, family);
  }
  if (spec["clusterIP"] === "None" || faults.list.length > 0) return;
  const addresses = items(spec["clusterIPs"]).map(text);
  if (addresses.length > families.length) {
    faults.invalid("spec.clusterIPs", addresses, "must be no more than the number of ipFamilies");
    return;
  }
  for (const [i, family] of families.entries()) {
    const range = rangeOf(family, settings) as string;
    const asked = addresses[i] ?? "";
    const field = `spec.clusterIPs[${i}]`;
    if (asked === "") {
      const chosen = chooseAddress(range, tx);
      if (chosen === undefined) throw exhausted(`no address of ${range} is free for a service`);
      take(tx, ADDRESSES, chosen, owner);
      addresses[i] = chosen;
    } else if (!isIp(asked))
      faults.invalid(field, asked, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    else if (familyName(asked) !== family)
      faults.invalid(field, asked, `expected an ${family} value as indicated by \`ipFamilies[${i}]\``);
    else if (!contains(range, hostPrefix(parseIp(asked)))) {
      faults.invalid(
        field,
        asked,
        `failed to allocate IP ${asked}: the provided IP (${asked}) is not in the valid range. The range of valid IPs is ${range}`,
      );
    } else if (!held.includes(parseIp(asked))) {
      if (tx.get(ADDRESSES, parseIp(asked)) !== undefined) {
        faults.invalid(field, asked, `failed to allocate IP ${asked}: provided IP is already allocated`);
      } else take(tx, ADDRESSES, parseIp(asked), owner);
    }
  }
  spec["clusterIPs"] = addresses;
  spec["clusterIP"] = addresses[0];
}

/** Probed at most: ranges may be large, and a full one must not hold up the server. */
const MOST_PROBES = 65_536n;

function chooseAddress(range: string, tx: Transaction): string | undefined {
  const size = prefixSize(range as Parameters<typeof prefixSize>[0]);
  // The last address of an IPv4 range would be its broadcast address.
  const end = range.includes(":") ? size : size - 1n;
  const band = smaller(256n, larger(16n, size / 16n));
  const middle = smaller(band, end);
  return probe(range, middle, end, tx) ?? probe(range, 2n, middle, tx);
}

function probe(range: string, from: bigint, to: bigint, tx: Transaction): string | undefined {
  const length = to - from;
  if (length <= 0n) return undefined;
  const random = crypto.getRandomValues(new BigUint64Array(1))[0] as bigint;
  for (let i = 0n; i < length && i < MOST_PROBES; i++) {
    const address = addressAt(range as Parameters<typeof addressAt>[0], from + ((random + i) % length));
    if (tx.get(ADDRESSES, address) === undefined) return address;
  }
  return undefined;
}

const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b);
const larger = (a: bigint, b: bigint): bigint => (a > b ? a : b);

function allocatePorts(
  spec: Mapping,
  held: readonly string[],
  owner: string,
  tx: Transaction,
  { nodePorts: [least, most] }: ServiceSettings,
  faults: Faults,
): void {
  const taken = new Map<string, number>();
  for (const [i, port] of mappings(spec["ports"]).entries()) {
    const protocol = text(port["protocol"]);
    const field = `spec.ports[${i}].nodePort`;
    let { nodePort } = port;
    if (nodePort === undefined) {
      nodePort = choosePort(protocol, least, most, tx);
      if (nodePort === undefined) throw exhausted("no node port is free");
      port["nodePort"] = nodePort;
    }
    const key = `${protocol}/${String(nodePort)}`;
    if (taken.has(key)) faults.duplicate(field, nodePort);
    taken.set(key, i);
    if (held.includes(key)) continue;
    if (typeof nodePort !== "number" || nodePort < least || nodePort > most) {
      faults.invalid(
        field,
        nodePort,
        `provided port is not in the valid range. The range of valid ports is ${least}-${most}`,
      );
    } else if (tx.get(NODE_PORTS, key) !== undefined) {
      faults.invalid(field, nodePort, "provided port is already allocated");
    } else take(tx, NODE_PORTS, key, owner);
  }
}

function choosePort(protocol: string, least: number, most: number, tx: Transaction): number | undefined {
  const length = most - least + 1;
  const random = crypto.getRandomValues(new Uint32Array(1))[0] as number;
  for (let i = 0; i < length; i++) {
    const port = least + ((random + i) % length);
    if (tx.get(NODE_PORTS, `${protocol}/${port}`) === undefined) return port;
  }
  return undefined;
}

function take(tx: Transaction, storage: string, key: string, owner: string): void {
  tx.put(storage, key, { apiVersion: "internal", kind: "Allocation", metadata: { name: key }, owner });
}

function give(tx: Transaction, storage: string, key: string): void {
  const held = tx.get(storage, key);
  if (held !== undefined) tx.delete(storage, key, JSON.parse(held.value) as ApiObject);
}

const exhausted = (message: string): Failure => new Failure("exhausted", 500, "InternalError", message);
