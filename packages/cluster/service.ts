/**
 * Service (v1) into a Service row. Parts that are wrong are left out and named, the others are served, as kube-proxy
 * does it: a mistake in one port must not take the others away.
 */
import { familyOf } from "@weft/base";
import type { Balance, Service, ServiceAddress, ServicePort, Transport } from "@weft/model";
import { prefixOf, unicastOf } from "./addresses.ts";
import { type Fault, type Field, faultText } from "./field.ts";
import { HEADLESS_LABEL, type Metadata, PROXY_NAME_LABEL, readMetadata } from "./metadata.ts";
import { unsupported } from "./node.ts";
import { hasEffect, type Notes, noteOthers, SERVICE_SPEC_KNOWN } from "./unhonoured.ts";

const TYPES = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] as const;
const BALANCE_ANNOTATION = "service.weft.network/balance";
/** The default of sessionAffinityConfig.clientIP.timeoutSeconds: three hours. */
const AFFINITY_SECONDS = 10_800;
/** The API's limit of timeoutSeconds: a day. */
const MOST_AFFINITY_SECONDS = 86_400;

const USED = [
  ..."type clusterIP clusterIPs ipFamilies ipFamilyPolicy externalIPs ports sessionAffinity".split(" "),
  ..."sessionAffinityConfig internalTrafficPolicy externalTrafficPolicy healthCheckNodePort".split(" "),
  ..."loadBalancerSourceRanges allocateLoadBalancerNodePorts externalName".split(" "),
];

export function readService(object: Field, notes: Notes): Service {
  const metadata = readMetadata(object, notes);
  noteOthers(object, ["apiVersion", "kind", "metadata", "spec", "status"], [], notes);
  noteOthers(object.at("spec"), USED, SERVICE_SPEC_KNOWN, notes);
  const faults: Fault[] = [];
  const spec = object.at("spec").reportingTo(faults);
  const type = choice(spec.at("type"), TYPES) ?? "ClusterIP";
  const clusterIPs = readClusterIPs(spec);
  const isLoadBalancer = type === "LoadBalancer";
  const external = type === "NodePort" || isLoadBalancer;
  const externalLocal = choice(spec.at("externalTrafficPolicy"), ["Cluster", "Local"]) === "Local";
  const leftAlone = reasonToLeave(metadata, type, spec, clusterIPs.length);
  const affinity = readAffinity(spec);
  const ranges = isLoadBalancer ? readSourceRanges(spec.at("loadBalancerSourceRanges")) : undefined;
  const health = isLoadBalancer && externalLocal ? spec.at("healthCheckNodePort").integer(0, 65535) : 0;
  const balance = readBalance(object.at("metadata").at("annotations").reportingTo(faults));
  const row: Service = {
    namespace: metadata.namespace,
    name: metadata.name ?? "",
    ...(metadata.uid === undefined ? {} : { uid: metadata.uid }),
    created: readTime(object.at("metadata").at("creationTimestamp").value),
    type,
    ...(leftAlone === undefined ? {} : { leftAlone }),
    clusterIPs,
    externalIPs: spec.at("externalIPs").items().flatMap(address),
    loadBalancerIPs: isLoadBalancer ? readIngress(object.at("status").reportingTo(faults)) : [],
    ports: type === "ExternalName" ? [] : readPorts(spec.at("ports"), external),
    internalLocal: choice(spec.at("internalTrafficPolicy"), ["Cluster", "Local"]) === "Local",
    externalLocal,
    ...(affinity === undefined ? {} : { affinity }),
    ...(ranges === undefined ? {} : { sourceRanges: ranges }),
    ...(health === undefined || health === 0 ? {} : { healthCheckNodePort: health }),
    ...(balance === undefined ? {} : { balance }),
  };
  notes.ignored.push(...faults);
  return faults.length === 0 ? row : { ...row, faults: faults.map(faultText) };
}

function reasonToLeave(
  { labels }: Metadata,
  type: Service["type"],
  spec: Field,
  addresses: number,
): string | undefined {
  if (type === "ExternalName") return "it is an ExternalName";
  if (labels[PROXY_NAME_LABEL] !== undefined)
    return `its label names another proxy, ${labels[PROXY_NAME_LABEL]}`;
  if (spec.at("clusterIP").value === "None" || spec.at("clusterIPs").items()[0]?.value === "None") {
    return "it is headless";
  }
  if (labels[HEADLESS_LABEL] !== undefined) return "its label says that it is headless";
  return addresses === 0 ? "it has no cluster address" : undefined;
}

function readClusterIPs(spec: Field): ServiceAddress[] {
  const list = spec.at("clusterIPs").items();
  const single = spec.at("clusterIP");
  const fields = list.length > 0 ? list : hasEffect(single.value) ? [single] : [];
  const found: ServiceAddress[] = [];
  for (const field of fields) {
    if (field.value === "None") continue;
    const ip = unicastOf(field);
    if (ip === undefined) continue;
    if (found.some((other) => familyOf(other.ip) === familyOf(ip)))
      field.invalid("is the second of its family");
    else found.push({ ip, field: field.text });
  }
  return found;
}

function address(field: Field): ServiceAddress[] {
  const ip = unicastOf(field);
  return ip === undefined ? [] : [{ ip, field: field.text }];
}

/** A balancer of mode Proxy connects by itself, from an address of its own: what it is connected to is no service's. */
function readIngress(status: Field): ServiceAddress[] {
  return status
    .at("loadBalancer")
    .at("ingress")
    .items()
    .flatMap((item) => {
      if (!hasEffect(item.at("ip").value)) return [];
      return choice(item.at("ipMode"), ["VIP", "Proxy"]) === "Proxy" ? [] : address(item.at("ip"));
    });
}

function readPorts(list: Field, withNodePorts: boolean): ServicePort[] {
  const found: ServicePort[] = [];
  list.items().forEach((item, index) => {
    const name = item.at("name").optionalString() ?? "";
    const protocol = readProtocol(item.at("protocol"));
    const port = requiredPort(item.at("port"));
    const nodePort = withNodePorts ? item.at("nodePort").integer(0, 65535) : undefined;
    if (protocol === undefined || port === undefined) return;
    if (found.some((other) => other.name === name)) item.at("name").fault(duplicate(name));
    else if (found.some((other) => other.port === port && other.protocol === protocol)) {
      item.at("port").fault(duplicate(`${port}/${protocol.toUpperCase()}`));
    } else {
      const node = nodePort === undefined || nodePort === 0 ? {} : { nodePort };
      found.push({ name, protocol, port, ...node, index });
    }
  });
  return found;
}

const duplicate = (what: string): string => `Duplicate value: ${JSON.stringify(what)}`;

export function requiredPort(field: Field): number | undefined {
  if (!field.present) field.required();
  return field.integer(1, 65535);
}

/** TCP when it is absent. */
export function readProtocol(field: Field): Transport | undefined {
  if (!field.present) return "tcp";
  return choice(field, ["TCP", "UDP", "SCTP"])?.toLowerCase() as Transport | undefined;
}

function choice<T extends string>(field: Field, allowed: readonly T[]): T | undefined {
  const text = field.string();
  if (text === undefined || text === "") return undefined;
  if (allowed.includes(text as T)) return text as T;
  field.fault(unsupported(text, allowed));
  return undefined;
}

function readAffinity(spec: Field): number | undefined {
  if (choice(spec.at("sessionAffinity"), ["None", "ClientIP"]) !== "ClientIP") return undefined;
  const seconds = spec.at("sessionAffinityConfig").at("clientIP").at("timeoutSeconds");
  return seconds.integer(1, MOST_AFFINITY_SECONDS) ?? AFFINITY_SECONDS;
}

/**
 * Undefined for a list that is absent or empty. When something stands there, and none of it can be read, nobody may
 * connect: a typo must not open what somebody meant to close. The API accepts blanks around a range.
 */
function readSourceRanges(list: Field): Service["sourceRanges"] {
  const items = list.items();
  if (items.length === 0) return undefined;
  return items.flatMap((item) => {
    const text = typeof item.value === "string" ? item.value.trim() : item.value;
    const prefix = prefixOf(item.withValue(text));
    return prefix === undefined ? [] : [prefix];
  });
}

function readBalance(annotations: Field): Balance | undefined {
  return choice(annotations.at(BALANCE_ANNOTATION), ["random", "maglev"]);
}

/** RFC 3339 in UTC without fractions, as the API writes it; anything else counts as unknown. */
const readTime = (value: unknown): string =>
  typeof value === "string" && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(value) ? value : "";
