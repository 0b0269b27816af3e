/** Services and slices for tests, in few words. */
import { type IpAddress, parseIp, parsePrefix } from "@weft/base";
import {
  DEFAULT_SETTINGS,
  type Endpoint,
  type EndpointSlice,
  type FrontendRow,
  type Node,
  originText,
  type Service,
  type ServicePlanRow,
  type Settings,
} from "@weft/model";
import { createServices, type ServiceFact, type Services } from "./services.ts";

export const at = (ip: string, field: string) => ({ ip: parseIp(ip), field });

export function service(name: string, more: Partial<Service> = {}): Service {
  return {
    namespace: "default",
    name,
    created: "2026-01-01T00:00:00Z",
    type: "ClusterIP",
    clusterIPs: [at("10.96.0.1", "spec.clusterIPs[0]")],
    externalIPs: [],
    loadBalancerIPs: [],
    ports: [{ name: "", protocol: "tcp", port: 80, index: 0 }],
    internalLocal: false,
    externalLocal: false,
    ...more,
  };
}

export function slice(
  name: string,
  of: string,
  endpoints: readonly Endpoint[],
  more: Partial<EndpointSlice> = {},
) {
  const ports = [{ name: "", protocol: "tcp", port: 8080 }] as const;
  return { namespace: "default", name, service: of, family: 4, ports, endpoints, ...more } as EndpointSlice;
}

export const endpoint = (
  ip: string,
  state: Endpoint["state"] = "ready",
  node = "far",
  more = {},
): Endpoint => {
  return { ip: parseIp(ip), state, node, ...more };
};

export const NODE: Node = {
  name: "here",
  addresses: [parseIp("192.0.2.1"), parseIp("2001:db8::1")],
  zone: "a",
  origin: { kind: "Node", name: "here" },
};

/** Node "here" of zone "a" with an uplink and a block of each family, and what is given. */
export function compiled(
  services: readonly Service[],
  slices: readonly EndpointSlice[],
  settings: Partial<Settings> = {},
): Services {
  const s = createServices({
    onError: (error) => {
      throw error;
    },
  });
  s.database.write(() => {
    s.self.put({ key: "self", name: "here", settings: { ...DEFAULT_SETTINGS, ...settings } });
    s.nodes.put(NODE);
    s.underlay.put({
      name: "eth0",
      index: 2,
      mtu: 1500,
      up: true,
      addresses: ["192.0.2.1/24", "192.0.2.77/24", "2001:db8::1/64"] as never,
      acceptsRouterAdvertisements: false,
    });
    for (const prefix of ["10.244.1.0/24", "fd00:244:1::/64"]) {
      s.blocks.put({ prefix: parsePrefix(prefix), node: "here", origin: NODE.origin });
    }
    for (const row of services) s.services.put(row);
    for (const row of slices) s.slices.put(row);
  });
  return s;
}

export const facts = (s: Services): ServiceFact[] => s.facts.flatMap((t) => [...t.rows()]);
export const rows = (s: Services): ServicePlanRow[] =>
  facts(s).flatMap((f) => (f.type === "rows" ? [...f.rows] : []));
export const frontends = (s: Services): FrontendRow[] => rows(s).filter((r) => r.kind === "frontend");
export const problems = (s: Services): string[] =>
  [...facts(s).flatMap((f) => (f.type === "problem" ? [f.problem] : [])), ...s.conflicts()].map(
    (p) => `${originText(p.origin)}: ${p.message}`,
  );

/** "any 10.96.0.1 tcp 80 -> 10.244.1.5:8080": what a reader compares. */
export function line(row: FrontendRow): string {
  const { match, backends, action } = row;
  const where = match.address === "node" ? `node${match.family}` : match.address;
  const to = backends
    .map((b) => (b.ip.includes(":") ? `[${b.ip}]:${b.port}` : `${b.ip}:${b.port}`))
    .join(" ");
  const marks = [
    row.masquerade === "never" ? "keep" : "",
    row.balance === "maglev" ? "maglev" : "",
    row.affinity === undefined ? "" : `affinity ${row.affinity}`,
    row.sources === undefined ? "" : `from [${row.sources.join(" ")}]`,
  ].filter((m) => m !== "");
  const rest = marks.length === 0 ? "" : ` (${marks.join(", ")})`;
  return `${row.scope} ${where} ${match.protocol} ${match.port} -> ${action === "balance" ? to : action}${rest}`;
}

export const lines = (s: Services): string[] => frontends(s).map(line);
export const backendsOf = (row: FrontendRow | undefined): IpAddress[] => row?.backends.map((b) => b.ip) ?? [];
