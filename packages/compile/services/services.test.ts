import { describe, expect, test } from "bun:test";
import { contains, parsePrefix } from "@weft/base";
import {
  DEFAULT_SERVICE_SETTINGS,
  DEFAULT_SETTINGS,
  type EndpointSlice,
  originText,
  type Service,
  serviceKey,
  serviceName,
  servicePlanKey,
} from "@weft/model";
import fc from "fast-check";
import { merged, outermost, without } from "./disjoint.ts";
import type { Services } from "./services.ts";
import {
  at,
  compiled,
  endpoint,
  facts,
  frontends,
  line,
  lines,
  NODE,
  problems,
  rows,
  service,
  slice,
} from "./testing.ts";

const two = [endpoint("10.244.1.5", "ready", "here"), endpoint("10.244.2.5")];

describe("frontends", () => {
  test("every kind of address, with what it asks for", () => {
    const web = service("web", {
      type: "LoadBalancer",
      clusterIPs: [at("10.96.0.1", "spec.clusterIPs[0]"), at("fd00:96::1", "spec.clusterIPs[1]")],
      externalIPs: [at("198.51.100.1", "spec.externalIPs[0]")],
      loadBalancerIPs: [at("203.0.113.1", "status.loadBalancer.ingress[0].ip")],
      ports: [
        { name: "http", protocol: "tcp", port: 80, nodePort: 30080, index: 0 },
        { name: "sig", protocol: "sctp", port: 2905, index: 2 },
      ],
      affinity: 60,
      sourceRanges: [parsePrefix("10.0.0.0/8"), parsePrefix("fd00::/8")],
      externalLocal: true,
      balance: "maglev",
    });
    const ports = [
      { name: "http", protocol: "tcp", port: 8080 },
      { name: "sig", protocol: "sctp", port: 2905 },
    ] as const;
    const s = compiled(
      [web],
      [slice("web-1", "web", two, { ports }), slice("six", "web", [], { family: 6, ports })],
    );
    expect(lines(s)).toEqual([
      "any 10.96.0.1 tcp 80 -> 10.244.1.5:8080 10.244.2.5:8080 (affinity 60)",
      "any 10.96.0.1 sctp 2905 -> 10.244.1.5:2905 10.244.2.5:2905 (affinity 60)",
      "any fd00:96::1 tcp 80 -> reject (affinity 60)",
      "any fd00:96::1 sctp 2905 -> reject (affinity 60)",
      "any 198.51.100.1 sctp 2905 -> 10.244.1.5:2905 10.244.2.5:2905 (maglev, affinity 60)",
      "outside 198.51.100.1 sctp 2905 -> 10.244.1.5:2905 (keep, maglev, affinity 60)",
      "any 198.51.100.1 tcp 80 -> 10.244.1.5:8080 10.244.2.5:8080 (maglev, affinity 60)",
      "outside 198.51.100.1 tcp 80 -> 10.244.1.5:8080 (keep, maglev, affinity 60)",
      "any 203.0.113.1 sctp 2905 -> 10.244.1.5:2905 10.244.2.5:2905 (maglev, affinity 60, from [10.0.0.0/8])",
      "outside 203.0.113.1 sctp 2905 -> 10.244.1.5:2905 (keep, maglev, affinity 60, from [10.0.0.0/8])",
      "any 203.0.113.1 tcp 80 -> 10.244.1.5:8080 10.244.2.5:8080 (maglev, affinity 60, from [10.0.0.0/8])",
      "outside 203.0.113.1 tcp 80 -> 10.244.1.5:8080 (keep, maglev, affinity 60, from [10.0.0.0/8])",
      "any node4 tcp 30080 -> 10.244.1.5:8080 10.244.2.5:8080 (maglev, affinity 60)",
      "outside node4 tcp 30080 -> 10.244.1.5:8080 (keep, maglev, affinity 60)",
      "any node6 tcp 30080 -> reject (maglev, affinity 60)",
      "outside node6 tcp 30080 -> reject (keep, maglev, affinity 60)",
    ]);
    const fields = new Set(frontends(s).map((r) => r.origin.field));
    expect([...fields]).toEqual([
      "spec.clusterIPs[0], spec.ports[0]",
      "spec.clusterIPs[0], spec.ports[2]",
      "spec.clusterIPs[1], spec.ports[0]",
      "spec.clusterIPs[1], spec.ports[2]",
      "spec.externalIPs[0], spec.ports[2]",
      "spec.externalIPs[0], spec.ports[0]",
      "status.loadBalancer.ingress[0].ip, spec.ports[2]",
      "status.loadBalancer.ingress[0].ip, spec.ports[0]",
      "spec.ports[0].nodePort",
    ]);
  });

  test("the setting balances external addresses alone", () => {
    const settings = { services: { ...DEFAULT_SERVICE_SETTINGS, balance: "maglev" } } as const;
    const ports = [{ name: "", protocol: "tcp", port: 80, nodePort: 30080, index: 0 }] as const;
    const s = compiled([service("a", { ports })], [slice("x", "a", two)], settings);
    expect(frontends(s).map((r) => r.balance)).toEqual(["random", "maglev"]);
    const back = compiled([service("a", { ports, balance: "random" })], [slice("x", "a", two)], settings);
    expect(frontends(back).map((r) => r.balance)).toEqual(["random", "random"]);
  });

  test("source ranges of the other family alone close this one", () => {
    const web = service("web", {
      type: "LoadBalancer",
      loadBalancerIPs: [at("203.0.113.1", "status")],
      externalIPs: [at("203.0.113.1", "spec.externalIPs[0]")],
      sourceRanges: [parsePrefix("fd00::/8")],
    });
    // The address is an external one as well: the balancer's row, with its ranges, is the one that counts.
    const found = lines(compiled([web], [slice("x", "web", two)]));
    expect(found[1]).toBe("any 203.0.113.1 tcp 80 -> 10.244.1.5:8080 10.244.2.5:8080 (from [])");
    expect(found).toHaveLength(2);
  });

  test("a family without a cluster address is not served", () => {
    const web = service("web", {
      externalIPs: [at("2001:db8:5::1", "spec.externalIPs[0]")],
      ports: [{ name: "", protocol: "tcp", port: 80, nodePort: 30080, index: 0 }],
    });
    const s = compiled([web], [slice("x", "web", [endpoint("fd00:244:1::5")], { family: 6 })]);
    expect(lines(s)).toEqual(["any 10.96.0.1 tcp 80 -> reject", "any node4 tcp 30080 -> reject"]);
    expect(problems(s).join()).toContain("spec.externalIPs[0]: 2001:db8:5::1 is not served");
  });

  test("what is left alone has no rows", () => {
    const s = compiled([service("web", { leftAlone: "it is headless" })], [slice("x", "web", two)]);
    expect(lines(s)).toEqual([]);
    expect(rows(s).filter((r) => r.kind === "service-address" || r.kind === "hairpin")).toEqual([]);
  });

  test("slices without a service, and the service later", () => {
    const s = compiled([], [slice("x", "web", two)]);
    expect(lines(s)).toEqual([]);
    s.database.write(() => s.services.put(service("web")));
    expect(lines(s)).toEqual(["any 10.96.0.1 tcp 80 -> 10.244.1.5:8080 10.244.2.5:8080"]);
    s.database.write(() => s.slices.delete("default/x"));
    expect(lines(s)).toEqual(["any 10.96.0.1 tcp 80 -> reject"]);
  });

  test("the same endpoint in several slices: here, then the readier, then the first slice", () => {
    const s = compiled(
      [service("web", { internalLocal: true })],
      [
        slice("a", "web", [endpoint("10.244.1.5", "unready"), endpoint("10.244.1.6", "unready", "here")]),
        slice("b", "web", [endpoint("10.244.1.5", "ready", "here"), endpoint("10.244.1.6", "ready", "here")]),
        slice("c", "web", [endpoint("10.244.1.5", "terminating", "here")]),
      ],
    );
    expect(lines(s)).toEqual(["any 10.96.0.1 tcp 80 -> 10.244.1.5:8080 10.244.1.6:8080"]);
  });

  test("ports are matched by name and protocol; two of one name are both used", () => {
    const ports = [
      { name: "", protocol: "udp", port: 1 },
      { name: "x", protocol: "tcp", port: 2 },
      { name: "", protocol: "tcp", port: 4 },
      { name: "", protocol: "tcp", port: 3 },
    ] as const;
    const s = compiled([service("web")], [slice("a", "web", [endpoint("10.244.2.5")], { ports })]);
    expect(lines(s)).toEqual(["any 10.96.0.1 tcp 80 -> 10.244.2.5:3 10.244.2.5:4"]);
  });

  test("backends are sorted by value in both families", () => {
    const six = ["fd00:244::10", "fd00:244::9", "fd00:244::1:0"].map((ip) => endpoint(ip));
    const four = ["10.244.10.1", "10.244.9.1", "9.9.9.9"].map((ip) => endpoint(ip));
    const clusterIPs = [at("10.96.0.1", "a"), at("fd00:96::1", "b")];
    const s = compiled(
      [service("w", { clusterIPs })],
      [slice("a", "w", four), slice("b", "w", six, { family: 6 })],
    );
    expect(lines(s)).toEqual([
      "any 10.96.0.1 tcp 80 -> 9.9.9.9:8080 10.244.9.1:8080 10.244.10.1:8080",
      "any fd00:96::1 tcp 80 -> [fd00:244::9]:8080 [fd00:244::10]:8080 [fd00:244::1:0]:8080",
    ]);
  });
});

describe("conflicts", () => {
  const port = { name: "", protocol: "tcp", port: 80, nodePort: 30080, index: 0 } as const;
  const named = (name: string, cluster: string, more: Partial<Service>) =>
    service(name, { clusterIPs: [at(cluster, "spec.clusterIPs[0]")], ...more });

  test("the older service has the address, both scopes of it; the other is named", () => {
    const external = { externalIPs: [at("198.51.100.1", "spec.externalIPs[0]")], ports: [port] };
    const old = named("z", "10.96.0.9", { ...external, created: "2025-01-01T00:00:00Z" });
    const young = named("a", "10.96.0.8", { ...external, externalLocal: true });
    const s = compiled([old, young], []);
    expect(
      frontends(s)
        .filter((r) => r.match.address === "198.51.100.1")
        .map((r) => r.origin.name),
    ).toEqual(["z"]);
    expect(problems(s)).toEqual([
      "Service default/a: port 80/tcp of 198.51.100.1 belongs to Service default/z, which is older",
      "Service default/a: node port 30080/tcp (IPv4) belongs to Service default/z, which is older",
    ]);
    s.database.write(() => s.services.delete(serviceKey(old)));
    expect(problems(s)).toEqual([]);
    expect(lines(s).filter((l) => l.includes("198.51.100.1"))).toHaveLength(2);
  });

  test("of one age, the name decides; unknown age is the youngest", () => {
    const s = compiled(
      [named("b", "10.96.0.9", { ports: [port] }), named("a", "10.96.0.8", { ports: [port] })],
      [],
    );
    expect(problems(s)[0]).toContain(
      "Service default/b: node port 30080/tcp (IPv4) belongs to Service default/a",
    );
    const t = compiled(
      [named("b", "10.96.0.9", { ports: [port] }), named("a", "10.96.0.8", { ports: [port], created: "" })],
      [],
    );
    expect(problems(t)[0]).toContain(
      "Service default/a: node port 30080/tcp (IPv4) belongs to Service default/b",
    );
  });

  test("a cluster address is nobody's external address, however old that one is", () => {
    const thief = named("thief", "10.96.0.8", {
      created: "2020-01-01T00:00:00Z",
      externalIPs: [at("10.96.0.9", "spec.externalIPs[0]")],
    });
    const victim = named("victim", "10.96.0.9", {});
    const s = compiled([thief, victim], [slice("x", "victim", two)]);
    expect(lines(s)).toEqual([
      "any 10.96.0.8 tcp 80 -> reject",
      "any 10.96.0.9 tcp 80 -> 10.244.1.5:8080 10.244.2.5:8080",
    ]);
    expect(problems(s)[0]).toContain("10.96.0.9 is a cluster address");
    s.database.write(() => s.services.delete(serviceKey(victim)));
    expect(lines(s)[1]).toBe("any 10.96.0.9 tcp 80 -> reject");
    expect(problems(s)).toEqual([]);
  });

  test("one health check port of two services", () => {
    const health = {
      type: "LoadBalancer",
      externalLocal: true,
      healthCheckNodePort: 31000,
      ports: [port],
    } as const;
    const s = compiled(
      [
        named("a", "10.96.0.8", { ...health, ports: [{ ...port, nodePort: 30081 }] }),
        named("b", "10.96.0.9", health),
      ],
      [slice("x", "a", two)],
    );
    expect(facts(s).find((f) => f.type === "health")).toMatchObject({
      check: { name: "a", localEndpoints: 1 },
    });
    expect(problems(s)).toEqual([
      "Service default/b: health check port 31000 belongs to Service default/a, which comes first by name",
    ]);
  });
});

describe("the node's rows", () => {
  const of = (s: Services, kind: string) =>
    rows(s)
      .filter((r) => r.kind === kind)
      .map(servicePlanKey);

  test("addresses, ranges, hairpins", () => {
    const local = [
      endpoint("10.244.1.5", "ready", "here"),
      endpoint("10.244.1.6", "terminating", "here"),
      endpoint("192.0.2.1", "ready", "here"),
      { ip: "10.244.1.7", state: "ready" } as never,
      { ip: "10.9.9.9", state: "ready" } as never,
      endpoint("10.244.2.5"),
    ];
    const settings = {
      clusterCIDRs: [parsePrefix("10.244.0.0/16")],
      serviceCIDRs: [parsePrefix("10.96.0.0/16")],
    };
    const s = compiled([service("web")], [slice("x", "web", local)], settings);
    s.database.write(() => {
      for (const prefix of ["10.96.0.0/24", "fd00:96::/112"]) {
        s.ranges.put({ prefix: parsePrefix(prefix), origin: { kind: "ServiceCIDR", name: "k" } });
      }
    });
    expect(of(s, "node-source")).toEqual(["192.0.2.1", "2001:db8::1"]);
    expect(of(s, "node-port-address")).toEqual(["192.0.2.1", "2001:db8::1"]);
    expect(of(s, "pod-range")).toEqual([
      "cluster 10.244.0.0/16",
      "local 10.244.1.0/24",
      "local fd00:244:1::/64",
    ]);
    expect(of(s, "service-address")).toEqual(["10.96.0.0/16", "fd00:96::/112", "10.96.0.1/32"]);
    // Not the node's own address, and not what is elsewhere or nobody knows where.
    expect(of(s, "hairpin")).toEqual(["10.244.1.5", "10.244.1.7"]);
  });

  test.each([
    ["all", ["192.0.2.1", "192.0.2.77", "2001:db8::1"]],
    [["192.0.2.64/26"], ["192.0.2.77"]],
    [["198.51.100.0/24"], []],
    [[], []],
  ])("nodePortAddresses %j", (nodePortAddresses, expected) => {
    const s = compiled([], [], {
      services: { ...DEFAULT_SERVICE_SETTINGS, nodePortAddresses: nodePortAddresses as never },
    });
    expect(of(s, "node-port-address")).toEqual(expected);
    expect(problems(s).length).toBe(
      Array.isArray(nodePortAddresses) && nodePortAddresses.length === 1 && expected.length === 0 ? 1 : 0,
    );
  });

  test("blocks of all nodes make the cluster's ranges; without own blocks clusterCIDRs stand for them", () => {
    const s = compiled([], []);
    s.database.write(() => {
      for (const i of [0, 2, 3]) {
        s.blocks.put({ prefix: parsePrefix(`10.244.${i}.0/24`), node: `n${i}`, origin: NODE.origin });
      }
    });
    expect(of(s, "pod-range")).toContain("cluster 10.244.0.0/22");
    s.database.write(() => {
      for (const key of s.blocks.keys()) s.blocks.delete(key);
      const clusterCIDRs = [parsePrefix("10.0.0.0/8")];
      s.self.put({ key: "self", name: "here", settings: { ...DEFAULT_SETTINGS, clusterCIDRs } });
    });
    expect(of(s, "pod-range")).toEqual(["cluster 10.0.0.0/8", "local 10.0.0.0/8"]);
  });

  test("pools are ranges of the cluster; addresses on loan are pods of the node that has them", () => {
    const s = compiled([], [], { clusterCIDRs: [parsePrefix("10.244.0.0/16")] });
    const put = (prefix: string, node: string, lentFrom?: string): void =>
      s.database.write(() => {
        s.blocks.put({
          prefix: parsePrefix(prefix),
          node,
          pool: "p",
          ...(lentFrom === undefined ? {} : { lentFrom: parsePrefix(lentFrom) }),
          origin: { kind: "IPBlock", name: prefix },
        });
      });
    const pool = (ready: boolean): void =>
      s.database.write(() => {
        s.pools.put({
          name: "p",
          uid: "u",
          cidr: parsePrefix("10.8.0.0/16"),
          blockSize: 29,
          nodeSelector: [],
          namespaceSelector: [],
          natOutgoing: undefined,
          disabled: false,
          ready,
          created: 0,
          origin: { kind: "IPPool", name: "p" },
        });
      });
    pool(false);
    put("10.8.1.0/29", "here");
    put("10.8.2.0/29", "far");
    const before = [
      "cluster 10.244.0.0/16",
      "local 10.244.1.0/24",
      "local 10.8.1.0/29",
      "local fd00:244:1::/64",
    ];
    expect(of(s, "pod-range")).toEqual(before);
    pool(true);
    put("10.8.2.4/32", "here", "10.8.2.0/29");
    put("10.8.1.5/32", "far", "10.8.1.0/29");
    expect(of(s, "pod-range").sort()).toEqual(
      [
        "cluster 10.244.0.0/16",
        "cluster 10.8.0.0/16",
        "local 10.244.1.0/24",
        "local 10.8.1.0/30",
        "local 10.8.1.4/32",
        "local 10.8.1.6/31",
        "local 10.8.2.4/32",
        "local fd00:244:1::/64",
      ].sort(),
    );
    const origins = rows(s).flatMap((r) => (r.kind === "pod-range" ? [originText(r.origin)] : []));
    expect(origins).toContain("IPPool p spec.cidr");
    expect(origins).toContain("IPBlock 10.8.1.0/29");
  });

  test("a node that is not there, and an address on no link, are problems", () => {
    const s = compiled([], []);
    s.database.write(() => s.underlay.delete("eth0"));
    expect(of(s, "node-source")).toEqual([]);
    expect(problems(s)).toHaveLength(2);
    s.database.write(() => s.nodes.delete("here"));
    expect([s.hasNode(), problems(s)]).toEqual([false, ["Node here: there is no Node named here"]]);
  });
});

describe("prefixes", () => {
  const some = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 24, max: 32 })).map(([last, length]) => {
      const base = length === 32 ? last : last & ~((1 << (32 - length)) - 1);
      return parsePrefix(`10.0.0.${base}/${length}`);
    }),
  );
  const covered = (prefixes: readonly string[]): Set<number> => {
    const all = new Set<number>();
    for (const p of prefixes) {
      const [ip = "", length] = p.split("/");
      const start = Number(ip.split(".")[3]);
      for (let i = 0; i < 2 ** (32 - Number(length)); i++) all.add(start + i);
    }
    return all;
  };
  test("cover the same addresses, each once", () => {
    fc.assert(
      fc.property(some, (prefixes) => {
        for (const result of [outermost(prefixes), merged(prefixes)]) {
          expect(covered(result)).toEqual(covered(prefixes));
          const sizes = result.reduce((n, p) => n + 2 ** (32 - Number(p.split("/")[1])), 0);
          expect(sizes).toBe(covered(result).size);
        }
        expect(merged(prefixes).length).toBeLessThanOrEqual(outermost(prefixes).length);
      }),
    );
  });
  test("with holes cover what is left, each once", () => {
    fc.assert(
      fc.property(some, (prefixes) => {
        const [whole, ...rest] = prefixes.toSorted(
          (a, b) => Number(a.split("/")[1]) - Number(b.split("/")[1]),
        );
        if (whole === undefined) return;
        const holes = rest.filter((p) => contains(whole, p));
        const left = without(whole, holes);
        const wanted = new Set([...covered([whole])].filter((n) => !covered(holes).has(n)));
        expect(covered(left)).toEqual(wanted);
        expect(left.reduce((n, p) => n + 2 ** (32 - Number(p.split("/")[1])), 0)).toBe(wanted.size);
      }),
    );
  });
});

describe("incremental", () => {
  const name = fc.constantFrom("a", "b", "c");
  const ip = fc.constantFrom("10.244.1.1", "10.244.1.2", "10.244.2.1", "10.244.3.1");
  const anyEndpoint = fc
    .tuple(
      ip,
      fc.constantFrom("ready", "terminating", "unready"),
      fc.constantFrom("here", "far"),
      fc.constantFrom<unknown>(undefined, ["a"], ["b"]),
    )
    .map(([i, state, node, forZones]) =>
      endpoint(i, state as never, node, forZones === undefined ? {} : { forZones }),
    );
  const address = fc.constantFrom("198.51.100.1", "198.51.100.2", "10.96.0.1", "2001:db8:5::1");
  const anyService = fc
    .record({
      name,
      created: fc.constantFrom("2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
      cluster: fc.constantFrom("10.96.0.1", "10.96.0.2", "10.96.0.3"),
      dual: fc.boolean(),
      externals: fc.uniqueArray(address, { maxLength: 2 }),
      nodePort: fc.constantFrom<number | undefined>(undefined, 30080, 30081),
      internalLocal: fc.boolean(),
      externalLocal: fc.boolean(),
      health: fc.constantFrom<number | undefined>(undefined, 31000),
      leftAlone: fc.constantFrom<string | undefined>(undefined, undefined, undefined, "it is headless"),
    })
    .map((r): Service => {
      return service(r.name, {
        created: r.created,
        clusterIPs: [at(r.cluster, "c0"), ...(r.dual ? [at("fd00:96::1", "c1")] : [])],
        externalIPs: r.externals.map((e, i) => at(e, `e${i}`)),
        ports: [
          {
            name: "",
            protocol: "tcp",
            port: 80,
            index: 0,
            ...(r.nodePort === undefined ? {} : { nodePort: r.nodePort }),
          },
        ],
        internalLocal: r.internalLocal,
        externalLocal: r.externalLocal,
        ...(r.health === undefined ? {} : { healthCheckNodePort: r.health }),
        ...(r.leftAlone === undefined ? {} : { leftAlone: r.leftAlone }),
      });
    });
  const anySlice = fc
    .tuple(fc.constantFrom("s1", "s2", "s3", "s4"), name, fc.array(anyEndpoint, { maxLength: 4 }))
    .map(([n, of, endpoints]) => slice(n, of, endpoints));
  const step = fc.oneof(
    fc.record({ do: fc.constant("service" as const), row: anyService }),
    fc.record({ do: fc.constant("slice" as const), row: anySlice }),
    fc.record({ do: fc.constant("no service" as const), name }),
    fc.record({ do: fc.constant("no slice" as const), name: fc.constantFrom("s1", "s2", "s3", "s4") }),
    fc.record({
      do: fc.constant("zone" as const),
      zone: fc.constantFrom<string | undefined>("a", "b", undefined),
    }),
    fc.record({ do: fc.constant("maglev" as const), on: fc.boolean() }),
  );

  test("after any changes it says what a compile from scratch says", () => {
    fc.assert(
      fc.property(fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { maxLength: 8 }), (commits) => {
        const s = compiled([], []);
        const services = new Map<string, Service>();
        const slices = new Map<string, EndpointSlice>();
        for (const commit of commits) {
          s.database.write(() => {
            for (const change of commit) apply(s, change, services, slices);
          });
        }
        const fresh = compiled([...services.values()], [...slices.values()]);
        fresh.database.write(() => {
          fresh.nodes.replaceAll(s.nodes.rows());
          fresh.self.replaceAll(s.self.rows());
        });
        expect(facts(s)).toEqual(facts(fresh));
        expect(s.conflicts()).toEqual(fresh.conflicts());
        const keys = rows(s).map((r) => `${r.kind} ${servicePlanKey(r)}`);
        expect(new Set(keys).size).toBe(keys.length);
      }),
      { numRuns: 300 },
    );
  });

  function apply(
    s: Services,
    change: typeof step extends fc.Arbitrary<infer T> ? T : never,
    services: Map<string, Service>,
    slices: Map<string, EndpointSlice>,
  ): void {
    const drop = (of: string): void => {
      const before = services.get(of);
      if (before !== undefined) s.services.delete(serviceKey(before));
      services.delete(of);
    };
    switch (change.do) {
      case "service":
        drop(change.row.name);
        services.set(change.row.name, change.row);
        s.services.put(change.row);
        break;
      case "slice":
        slices.set(change.row.name, change.row);
        s.slices.put(change.row);
        break;
      case "no service":
        drop(change.name);
        break;
      case "no slice":
        slices.delete(change.name);
        s.slices.delete(serviceName({ namespace: "default", name: change.name }));
        break;
      case "zone": {
        const { zone: _, ...rest } = NODE;
        s.nodes.put(change.zone === undefined ? rest : { ...rest, zone: change.zone });
        break;
      }
      case "maglev": {
        const services = { ...DEFAULT_SERVICE_SETTINGS, balance: change.on ? "maglev" : "random" } as const;
        s.self.put({ key: "self", name: "here", settings: { ...DEFAULT_SETTINGS, services } });
      }
    }
  }

  test("a changed slice computes its service and no other", () => {
    const s = compiled(
      [service("a"), service("b", { clusterIPs: [at("10.96.0.2", "c0")] })],
      [slice("s1", "a", two), slice("s2", "b", two)],
    );
    const changed: string[] = [];
    for (const table of s.facts) table.watch(({ changes }) => changed.push(...changes.map((c) => c.key)));
    s.database.write(() => s.slices.put(slice("s1", "a", [endpoint("10.244.2.9")])));
    expect(changed).toEqual(["hairpin 10.244.1.5", "address 10.96.0.1"]);
    expect(frontends(s).map(line)[0]).toContain("10.244.2.9");
  });
});
