import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseManifests } from "./index.ts";

const SERVICE = `
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
  uid: u-1
  creationTimestamp: "2026-11-28T10:00:00Z"
  annotations: {service.weft.network/balance: maglev}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, "fd00:96:0::a"]
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  externalIPs: [192.0.2.7]
  internalTrafficPolicy: Cluster
  externalTrafficPolicy: Local
  healthCheckNodePort: 31000
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
  loadBalancerSourceRanges: [" 198.51.100.0/24 "]
  ports:
  - {name: http, port: 80, targetPort: http, nodePort: 30080, appProtocol: http}
  - {name: dns, port: 53, protocol: UDP, nodePort: 30053}
  - {name: sig, port: 2905, protocol: SCTP}
status:
  loadBalancer:
    ingress:
    - {ip: 203.0.113.5, ipMode: VIP}
    - {ip: 203.0.113.6, ipMode: Proxy}
    - {hostname: lb.example.org}
    - {ip: "2001:db8::5"}
`;

const SLICE = `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}, {name: dns, port: 5353, protocol: UDP}]
endpoints:
- addresses: [10.244.1.5, 10.244.1.6]
  nodeName: n1
  hints: {forZones: [{name: a}, {name: b}], forNodes: [{name: n1}]}
- {addresses: [10.244.1.7], conditions: {ready: true, serving: true, terminating: true}}
- {addresses: [10.244.1.8], conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [10.244.1.9], conditions: {ready: false, terminating: true}}
- {addresses: [10.244.1.10], conditions: {ready: false, serving: false, terminating: true}}
- {addresses: [10.244.1.11], conditions: {ready: false, serving: true}}
`;

const service = (change: (text: string) => string = (t) => t) => {
  const rows = parseManifests(change(SERVICE), "s.yaml");
  return { ...rows, service: rows.services[0] };
};

describe("Service", () => {
  test("becomes a row of what a proxy needs", () => {
    const { service: row, errors, warnings } = service();
    expect([errors, warnings]).toEqual([[], []]);
    expect(row as unknown).toEqual({
      namespace: "shop",
      name: "web",
      uid: "u-1",
      created: "2026-11-28T10:00:00Z",
      type: "LoadBalancer",
      clusterIPs: [
        { ip: "10.96.0.10", field: "spec.clusterIPs[0]" },
        { ip: "fd00:96::a", field: "spec.clusterIPs[1]" },
      ],
      externalIPs: [{ ip: "192.0.2.7", field: "spec.externalIPs[0]" }],
      loadBalancerIPs: [
        { ip: "203.0.113.5", field: "status.loadBalancer.ingress[0].ip" },
        { ip: "2001:db8::5", field: "status.loadBalancer.ingress[3].ip" },
      ],
      ports: [
        { name: "http", protocol: "tcp", port: 80, nodePort: 30080, index: 0 },
        { name: "dns", protocol: "udp", port: 53, nodePort: 30053, index: 1 },
        { name: "sig", protocol: "sctp", port: 2905, index: 2 },
      ],
      internalLocal: false,
      externalLocal: true,
      affinity: 60,
      sourceRanges: ["198.51.100.0/24"],
      healthCheckNodePort: 31000,
      balance: "maglev",
    });
  });

  test.each([
    ["type: LoadBalancer", "type: ExternalName", "it is an ExternalName"],
    [
      'clusterIP: 10.96.0.10\n  clusterIPs: [10.96.0.10, "fd00:96:0::a"]',
      "clusterIP: None",
      "it is headless",
    ],
    ["namespace: shop", 'namespace: shop\n  labels: {service.kubernetes.io/headless: ""}', "label says"],
    [
      "namespace: shop",
      "namespace: shop\n  labels: {service.kubernetes.io/service-proxy-name: x}",
      "proxy, x",
    ],
    ['clusterIP: 10.96.0.10\n  clusterIPs: [10.96.0.10, "fd00:96:0::a"]', "", "no cluster address"],
  ])("%j to %j is left alone", (from, to, why) => {
    expect(service((t) => t.replace(from, to)).service?.leftAlone).toContain(why);
  });

  test.each<[string, string, object, string]>([
    [
      "port: 53,",
      "port: 0,",
      { ports: [80, 2905] },
      "s.yaml:25: Service shop/web: spec.ports[1].port: Invalid value: 0",
    ],
    ["port: 53,", "port: true,", { ports: [80, 2905] }, "spec.ports[1].port"],
    ["name: dns", "name: http", { ports: [80, 2905] }, 'spec.ports[1].name: Duplicate value: "http"'],
    [
      "port: 53, protocol: UDP",
      "port: 80",
      { ports: [80, 2905] },
      'spec.ports[1].port: Duplicate value: "80/TCP"',
    ],
    ["protocol: UDP", "protocol: QUIC", { ports: [80, 2905] }, "spec.ports[1].protocol: Unsupported value"],
    ["nodePort: 30053", "nodePort: 300530", {}, "spec.ports[1].nodePort"],
    ["[192.0.2.7]", "[192.0.2.7, 127.0.0.1, x]", {}, "spec.externalIPs[2]: Invalid value"],
    ["[192.0.2.7]", "[192.0.2.7, 169.254.1.1]", {}, "spec.externalIPs[1]: Invalid value"],
    [
      "fd00:96:0::a",
      "10.96.0.11",
      {},
      'spec.clusterIPs[1]: Invalid value: "10.96.0.11": is the second of its family',
    ],
    ["timeoutSeconds: 60", "timeoutSeconds: 86401", { affinity: 10800 }, "timeoutSeconds"],
    [
      "Policy: Local",
      "Policy: Node",
      { externalLocal: false },
      "spec.externalTrafficPolicy: Unsupported value",
    ],
    [" 198.51.100.0/24 ", "198.51.100.1/24", { sourceRanges: [] }, "spec.loadBalancerSourceRanges[0]"],
    ["balance: maglev", "balance: ipvs", {}, "[service.weft.network/balance]: Unsupported value"],
    ["ipMode: Proxy", "ipMode: Half", {}, "ingress[1].ipMode: Unsupported value"],
  ])("%j to %j: the rest is used, the fault is named", (from, to, expected, fault) => {
    const { service: row, errors, warnings } = service((t) => t.replace(from, to));
    expect(errors).toEqual([]);
    expect(warnings.join("\n")).toContain(fault);
    const path = fault.replace(/^s\.yaml.*web: /, "");
    expect(row?.faults?.some((f) => f.includes(path))).toBe(true);
    const shown = { ...row, ports: row?.ports.map((p) => p.port) };
    expect(shown).toMatchObject(expected);
  });

  test("asks for a controller in vain, and says so", () => {
    const { warnings } = service((t) => t.replace("  type: Load", "  selector: {app: web}\n  type: Load"));
    expect(warnings).toEqual(["s.yaml:2: Service shop/web: has no effect here: spec.selector"]);
  });

  test("without a name it is no row", () => {
    const { services, errors } = parseManifests("apiVersion: v1\nkind: Service\nspec: {}\n", "s.yaml");
    expect(services).toEqual([]);
    expect(errors.join()).toContain("Service default/(no name): metadata.name: Required value");
  });

  test("lists, and the same twice", () => {
    const list = JSON.stringify({
      apiVersion: "v1",
      kind: "ServiceList",
      items: [{ metadata: { name: "a" } }],
    });
    expect(parseManifests(list, "x").services.map((s) => s.name)).toEqual(["a"]);
    const { services, errors } = parseManifests(`${SERVICE}---${SERVICE}`, "s.yaml");
    expect(services).toHaveLength(1);
    expect(errors.join()).toContain("is in s.yaml:2 too");
  });
});

describe("EndpointSlice", () => {
  const slice = (change: (text: string) => string = (t) => t) => {
    const rows = parseManifests(change(SLICE), "e.yaml");
    return { ...rows, slice: rows.endpointSlices[0] };
  };

  test("becomes a row; conditions have the API's defaults", () => {
    const { slice: row, errors, warnings } = slice();
    expect([errors, warnings]).toEqual([[], []]);
    expect(row as unknown).toEqual({
      namespace: "shop",
      name: "web-1",
      service: "web",
      family: 4,
      ports: [
        { name: "http", protocol: "tcp", port: 8080 },
        { name: "dns", protocol: "udp", port: 5353 },
      ],
      endpoints: [
        { ip: "10.244.1.5", state: "ready", node: "n1", forZones: ["a", "b"], forNodes: ["n1"] },
        { ip: "10.244.1.7", state: "ready" },
        { ip: "10.244.1.8", state: "terminating" },
        { ip: "10.244.1.9", state: "terminating" },
        { ip: "10.244.1.10", state: "unready" },
        { ip: "10.244.1.11", state: "unready" },
      ],
    });
  });

  test.each([
    ["addressType: IPv4", "addressType: FQDN", ""],
    ["kubernetes.io/service-name", "example.org/name", "service-name]: Required value"],
    ["addressType: IPv4", "addressType: IPv9", "addressType: Invalid value"],
    ["labels: {", 'labels: {service.kubernetes.io/headless: "", ', ""],
    ["labels: {", 'labels: {service.kubernetes.io/service-proxy-name: "x", ', ""],
  ])("%j to %j gives no row", (from, to, fault) => {
    const { slice: row, warnings } = slice((t) => t.replace(from, to));
    expect(row).toBeUndefined();
    expect(warnings.join("\n")).toContain(fault);
  });

  test.each<[string, string, number, number, string]>([
    [
      "10.244.1.7",
      "fd00::7",
      5,
      2,
      'endpoints[1].addresses[0]: Invalid value: "fd00::7": is no IPv4 address',
    ],
    ["[10.244.1.7]", "[]", 5, 2, "endpoints[1].addresses: Required value"],
    ["addresses: [10.244.1.7],", "", 5, 2, "endpoints[1].addresses: Required value"],
    [
      "10.244.1.7",
      "127.0.0.1",
      5,
      2,
      'endpoints[1].addresses[0]: Invalid value: "127.0.0.1": must not touch',
    ],
    ["10.244.1.7", "010.244.1.7", 5, 2, "endpoints[1].addresses[0]"],
    ["nodeName: n1", "nodeName: 7", 5, 2, "endpoints[0].nodeName"],
    ["conditions: {ready: true,", "conditions: {ready: maybe,", 5, 2, "endpoints[1].conditions.ready"],
    [
      "conditions: {ready: true, serving: true, terminating: true}",
      "conditions: 1",
      5,
      2,
      "endpoints[1].conditions",
    ],
    [
      "forZones: [{name: a},",
      "forZones: [{nome: a},",
      6,
      2,
      "endpoints[0].hints.forZones[0].name: Required value",
    ],
    ["port: 5353,", "", 6, 1, "ports[1].port: Required value"],
    ["port: 5353,", "port: 99999,", 6, 1, "ports[1].port: Invalid value"],
    [
      "- {addresses: [10.244.1.7], conditions: {ready: true, serving: true, terminating: true}}",
      "- 7",
      5,
      2,
      "endpoints[1]",
    ],
  ])("%j to %j: the rest is used", (from, to, endpoints, ports, fault) => {
    const { slice: row, errors, warnings } = slice((t) => t.replace(from, to));
    expect(errors).toEqual([]);
    expect([row?.endpoints.length, row?.ports.length]).toEqual([endpoints, ports]);
    expect(row?.faults?.[0]).toContain(fault);
    expect(warnings[0]).toMatch(/^e\.yaml:\d+: EndpointSlice shop\/web-1: .* \(left out\)$/);
  });

  test("a thousand faults are twenty", () => {
    const bad = "- {addresses: [x]}\n".repeat(1000);
    const { slice: row } = slice((t) => t.replace(/endpoints:[\s\S]*/, `endpoints:\n${bad}`));
    expect([row?.endpoints.length, row?.faults?.length]).toEqual([0, 20]);
  });

  test("anything at all in it never throws", () => {
    const value = fc.anything({ maxDepth: 3 });
    const object = fc.record(
      {
        addressType: fc.oneof(fc.constant("IPv6"), value),
        ports: value,
        endpoints: fc.oneof(value, fc.array(value)),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(object, (o) => {
        const metadata = { name: "x", labels: { "kubernetes.io/service-name": "x" } };
        let text = "";
        try {
          text = JSON.stringify({ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", metadata, ...o });
        } catch {
          return;
        }
        parseManifests(text, "x.json");
      }),
    );
  });
});

test("ServiceCIDR becomes its ranges", () => {
  const text = (cidrs: string) =>
    `apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: kubernetes}\nspec: {cidrs: ${cidrs}}\n`;
  const { serviceRanges } = parseManifests(text('[10.96.0.0/16, "fd00:96::/112"]'), "c.yaml");
  expect(serviceRanges as unknown).toEqual([
    { prefix: "10.96.0.0/16", origin: { kind: "ServiceCIDR", name: "kubernetes", field: "spec.cidrs[0]" } },
    { prefix: "fd00:96::/112", origin: { kind: "ServiceCIDR", name: "kubernetes", field: "spec.cidrs[1]" } },
  ]);
  expect(parseManifests(text("[10.96.0.1/16]"), "c.yaml").errors.join()).toContain("spec.cidrs[0]");
});

test("a Node's zone, and that it is leaving", () => {
  const node = (more: string) =>
    parseManifests(
      `apiVersion: v1\nkind: Node\nmetadata: {name: n, labels: {topology.kubernetes.io/zone: z}}\n` +
        `status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}\nspec: ${more}\n`,
      "n.yaml",
    ).nodes[0];
  expect(node("{}")).toMatchObject({ zone: "z" });
  expect(node("{}")?.leaving).toBeUndefined();
  const taint = "{taints: [{key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}]}";
  expect(node(taint)?.leaving).toBe(true);
});
