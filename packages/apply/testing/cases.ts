/**
 * One row of each kind, how it can change, what can happen to its object, and what must be left alone. A table: that
 * of the attachment, which has two ends, is in attachment-case.ts.
 */
import {
  type IpAddress,
  type IpWithLength,
  type Mac,
  parseIp,
  parseIpWithLength,
  parseMac,
  parsePrefix,
} from "@weft/base";
import { ROUTE_PROTOCOL, type VxlanOptions } from "@weft/kernel/port";
import type { PlanRow, PlanRowOf } from "@weft/model";
import type { World } from "./worlds.ts";

export type Action = (world: World) => void | Promise<void>;

export interface Case {
  readonly name: string;
  /** Rows that must be there before. */
  readonly needs: readonly PlanRow[];
  readonly row: PlanRow;
  /** The row with one field changed. */
  readonly variants: Readonly<Record<string, PlanRow>>;
  /** By what `drift` says of the row then. */
  readonly damages: readonly (readonly [drift: string, damage: Action])[];
  /** Objects that are ours and that no row wants, by key. */
  readonly leftovers?: readonly (readonly [key: string, make: Action])[];
  /** Objects of others: makes them, and tells whether they are as they were made. */
  readonly foreign?: { readonly make: Action; readonly stands: (world: World) => boolean };
}

const origin = { kind: "Node", name: "n1" };
export const UPLINK = ["198.18.1.11/24", "198.18.1.77/24", "fd57:eff7:0:1::11/64"];
export const MACS = ["02:00:00:00:00:a1", "02:00:00:00:00:a2", "02:00:00:00:00:a3"].map(parseMac) as [
  Mac,
  Mac,
  Mac,
];
const LINK = "weft-vxlan";

const tunnel: PlanRowOf<"tunnel"> = {
  kind: "tunnel",
  name: LINK,
  mac: MACS[0],
  mtu: 1450,
  vni: 4096,
  port: 4789,
  local: parseIp("198.18.1.11"),
  underlay: "eth0",
  udpChecksum: false,
  transmitChecksumOffload: true,
  origin,
};
const optionsOf = ({ vni, port, local, underlay, udpChecksum }: PlanRowOf<"tunnel">): VxlanOptions => ({
  vni,
  port,
  local,
  underlay,
  udpChecksum,
  learning: false,
});
const address = (text: string): PlanRowOf<"address"> => ({
  kind: "address",
  link: LINK,
  address: parseIpWithLength(text),
  origin,
});
const remake =
  (other: Partial<PlanRowOf<"tunnel">>): Action =>
  async (w) => {
    await w.self.deleteLink(LINK);
    const row = { ...tunnel, ...other };
    w.self.createVxlan(LINK, row.mac, row.mtu, optionsOf(row));
    w.self.changeLink(LINK, { addressGeneration: "none" });
    w.self.changeLink(LINK, { up: true });
  };

const tunnelCase: Case = {
  name: "tunnel",
  needs: [],
  row: tunnel,
  variants: {
    mac: { ...tunnel, mac: MACS[1] },
    "a smaller mtu": { ...tunnel, mtu: 1400 },
    "an mtu below IPv6's": { ...tunnel, mtu: 1200 },
    vni: { ...tunnel, vni: 77 },
    port: { ...tunnel, port: 8472 },
    local: { ...tunnel, local: parseIp("198.18.1.77") },
    "local of the other family": { ...tunnel, local: parseIp("fd57:eff7:0:1::11"), mtu: 1430 },
    "UDP checksum": { ...tunnel, udpChecksum: true },
    "checksum offload": { ...tunnel, transmitChecksumOffload: false },
  },
  damages: [
    ["missing", (w) => w.self.deleteLink(LINK)],
    ["mtu is 1300, not 1450", (w) => w.self.changeLink(LINK, { mtu: 1300 })],
    ["IPv6 is false, not true, mtu is 1000, not 1450", (w) => w.self.changeLink(LINK, { mtu: 1000 })],
    [`mac is ${MACS[2]}, not ${MACS[0]}`, (w) => w.self.changeLink(LINK, { mac: MACS[2] })],
    ["up is false, not true", (w) => w.self.changeLink(LINK, { up: false })],
    ["address generation is eui64, not none", (w) => w.self.changeLink(LINK, { addressGeneration: "eui64" })],
    ["checksum offload is false, not true", (w) => w.self.setTransmitChecksumOffload(LINK, false)],
    ["vni is 9, not 4096", remake({ vni: 9 })],
    ["port is 4790, not 4789", remake({ port: 4790 })],
    ["local is 198.18.1.77, not 198.18.1.11", remake({ local: parseIp("198.18.1.77") })],
    ["UDP checksum is true, not false", remake({ udpChecksum: true })],
    [
      "missing",
      async (w) => {
        await w.self.deleteLink(LINK);
        w.self.createBridge(LINK, MACS[2], 1500);
      },
    ],
  ],
  leftovers: [
    [
      "weft-old",
      (w) => w.self.createVxlan("weft-old", MACS[2], 1400, optionsOf({ ...tunnel, vni: 5, port: 4790 })),
    ],
  ],
  foreign: {
    make: (w) => w.self.createVxlan("vxlan9", MACS[2], 1400, optionsOf({ ...tunnel, vni: 9, port: 4791 })),
    stands: (w) => w.self.link("vxlan9")?.vxlan?.vni === 9,
  },
};

const addressCase = (text: string): Case => ({
  name: `address ${text}`,
  needs: [tunnel],
  row: address(text),
  variants: { address: address("10.244.7.1/32"), family: address("fd00:10:244:7::1/128") },
  damages: [
    ["missing", (w) => w.self.deleteAddress(LINK, text as IpWithLength)],
    [
      "missing",
      (w) => {
        w.self.changeLink(LINK, { up: false });
        w.self.deleteAddress(LINK, text as IpWithLength);
      },
    ],
    ["missing", (w) => w.self.deleteLink(LINK)],
  ],
  leftovers: [
    [
      `${LINK} 10.9.9.9/32`,
      (w) => w.self.replaceAddress({ link: LINK, address: parseIpWithLength("10.9.9.9/32") }),
    ],
  ],
  foreign: {
    make: (w) => w.self.replaceAddress({ link: "eth0", address: parseIpWithLength("10.9.9.8/32") }),
    stands: (w) => w.self.addresses("eth0").some((a) => a.address === "10.9.9.8/32"),
  },
});

const neighbourCase = (ip: IpAddress): Case => {
  const row: PlanRowOf<"neighbour"> = { kind: "neighbour", link: LINK, ip, mac: MACS[1], origin };
  return {
    name: `neighbour ${ip}`,
    needs: [tunnel],
    row,
    variants: { mac: { ...row, mac: MACS[2] }, ip: { ...row, ip: parseIp("10.244.8.1") } },
    damages: [
      ["missing", (w) => w.self.deleteNeighbour(LINK, ip)],
      [`mac is ${MACS[2]}, not ${MACS[1]}`, (w) => w.self.replaceNeighbour(LINK, ip, MACS[2])],
      ["missing", (w) => w.self.changeLink(LINK, { mac: MACS[2] })],
    ],
    leftovers: [[`${LINK} 10.9.9.9`, (w) => w.self.replaceNeighbour(LINK, parseIp("10.9.9.9"), MACS[2])]],
    foreign: {
      make: (w) => w.self.replaceNeighbour("eth0", ip, MACS[2]),
      stands: (w) => w.self.neighbours("eth0").some((n) => n.ip === ip && n.mac === MACS[2]),
    },
  };
};

const forwarding: PlanRowOf<"forwarding"> = {
  kind: "forwarding",
  link: LINK,
  mac: MACS[1],
  remote: parseIp("198.18.2.13"),
  origin,
};
const OTHER = parseIp("198.18.2.99");
const forwardingCase: Case = {
  name: "forwarding",
  needs: [tunnel],
  row: forwarding,
  variants: { remote: { ...forwarding, remote: OTHER }, mac: { ...forwarding, mac: MACS[2] } },
  damages: [
    ["missing", (w) => w.self.deleteForwarding(LINK, MACS[1], forwarding.remote)],
    ["remote is 198.18.2.99, not 198.18.2.13", (w) => w.self.replaceForwarding(LINK, MACS[1], OTHER)],
    ["missing", remake({})],
  ],
  leftovers: [[`${LINK} ${MACS[2]}`, (w) => w.self.replaceForwarding(LINK, MACS[2], OTHER)]],
  foreign: {
    make(w) {
      w.self.createVxlan("vxlan9", MACS[2], 1400, optionsOf({ ...tunnel, vni: 9, port: 4791 }));
      w.self.replaceForwarding("vxlan9", MACS[1], OTHER);
    },
    stands: (w) => w.self.forwarding("vxlan9").some((e) => e.mac === MACS[1] && e.remote === OTHER),
  },
};

interface RouteTexts {
  readonly to: string;
  readonly via: string;
  readonly otherVia: string;
  readonly source: string;
  readonly otherSource: string;
  readonly onUplink: string;
}
function routeCase(t: RouteTexts): Case {
  const row: PlanRowOf<"route"> = {
    kind: "route",
    destination: parsePrefix(t.to),
    table: 254,
    type: "unicast",
    link: LINK,
    gateway: parseIp(t.via),
    onlink: true,
    source: parseIp(t.source),
    metric: 87,
    origin,
  };
  const none = { link: undefined, gateway: undefined, onlink: false, source: undefined };
  const kernels =
    (other: object): Action =>
    (w) =>
      w.self.replaceRoute({ ...defined(row), protocol: ROUTE_PROTOCOL, ...other });
  const six = t.to.includes(":");
  const host = six ? 128 : 32;
  return {
    name: `route ${t.to}`,
    needs: [tunnel, address(`${t.source}/${host}`), address(`${t.otherSource}/${host}`)],
    row,
    variants: {
      "type unreachable": { ...row, ...none, type: "unreachable" },
      gateway: { ...row, gateway: parseIp(t.otherVia) },
      "link and onlink": { ...row, link: "eth0", gateway: parseIp(t.onUplink), onlink: false },
      "no gateway": { ...row, gateway: undefined, onlink: false },
      source: { ...row, source: parseIp(t.otherSource) },
      "no source": { ...row, source: undefined },
      metric: { ...row, metric: 4096 },
      table: { ...row, table: 8700 },
      destination: { ...row, destination: parsePrefix(six ? "fd00:10:9::/64" : "10.9.0.0/24") },
    },
    damages: [
      ["missing", (w) => w.self.deleteRoute({ destination: row.destination, metric: 87 })],
      [`gateway is ${t.otherVia}, not ${t.via}`, kernels({ gateway: parseIp(t.otherVia) })],
      [`source is ${t.otherSource}, not ${t.source}`, kernels({ source: parseIp(t.otherSource) })],
      [
        "type is unreachable, not unicast",
        (w) => w.self.replaceRoute({ destination: row.destination, type: "unreachable", metric: row.metric }),
      ],
      ["link is eth0", kernels({ link: "eth0", gateway: parseIp(t.onUplink), onlink: false })],
      ["mtu is 1300, not absent", kernels({ mtu: 1300 })],
      ["missing", (w) => w.self.changeLink(LINK, { up: false })],
      ["missing", (w) => w.self.deleteLink(LINK)],
    ],
    leftovers: [
      [
        `${six ? "fd99::/64" : "10.99.0.0/16"} table 254 metric 5`,
        (w) =>
          w.self.replaceRoute({
            destination: parsePrefix(six ? "fd99::/64" : "10.99.0.0/16"),
            type: "unreachable",
            metric: 5,
          }),
      ],
    ],
    foreign: {
      // To the same prefix, with what metric the family has by default.
      make: (w) =>
        w.self.replaceRoute({
          destination: row.destination,
          link: "eth0",
          gateway: parseIp(t.onUplink),
          protocol: 4,
        }),
      stands: (w) =>
        w.self
          .routes({ protocol: 4 })
          .some((r) => r.destination === row.destination && r.gateway === t.onUplink),
    },
  };
}

/** Without fields that are undefined, as exact optional properties want it. */
const defined = <T extends object>(fields: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, v]) => v !== undefined)) as never;

function ruleCase(text: string): Case {
  const row: PlanRowOf<"rule"> = {
    kind: "rule",
    from: parsePrefix(text),
    table: 8700,
    priority: 8700,
    origin,
  };
  const rule = { from: row.from, table: 8700, priority: 8700, protocol: ROUTE_PROTOCOL };
  const theirs = { ...rule, protocol: 4, priority: 50 };
  const old = parsePrefix(text.includes(":") ? "fd99::/64" : "10.99.0.0/16");
  return {
    name: `rule ${text}`,
    needs: [],
    row,
    variants: {
      priority: { ...row, priority: 100 },
      table: { ...row, table: 99 },
      from: { ...row, from: old },
    },
    damages: [
      ["missing", (w) => w.self.deleteRule(rule)],
      [
        "priority is 100, not 8700",
        (w) => {
          w.self.deleteRule(rule);
          w.self.replaceRule({ ...rule, priority: 100 });
        },
      ],
      ["priority is 100 and 8700, not 8700", (w) => w.self.replaceRule({ ...rule, priority: 100 })],
    ],
    leftovers: [[`${old} table 8700`, (w) => w.self.replaceRule({ ...rule, from: old })]],
    foreign: {
      make: (w) => w.self.replaceRule(theirs),
      stands: (w) => w.self.rules().some((r) => r.priority === 50 && r.protocol === 4 && r.from === row.from),
    },
  };
}

function allowedSourceCase(ip: IpAddress): Case {
  const row: PlanRowOf<"allowed-source"> = {
    kind: "allowed-source",
    link: "weft0000000000a",
    mac: MACS[0],
    ip,
    origin,
  };
  const element = (mac: Mac) => ({
    key: [
      { type: "ifname", value: row.link },
      { type: "mac", value: mac },
      { type: "ip", value: ip },
    ] as const,
  });
  const [set, other] = ip.includes(":")
    ? ([
        ["inet", "sources6"],
        ["inet", "targets6"],
      ] as const)
    : ([
        ["inet", "sources4"],
        ["arp", "sources4"],
      ] as const);
  return {
    name: `allowed-source ${ip}`,
    needs: [],
    row,
    variants: {
      link: { ...row, link: "weft0000000000b" },
      mac: { ...row, mac: MACS[1] },
      ip: { ...row, ip: parseIp(ip.includes(":") ? "10.244.1.9" : "fd00:10:244:1::9") },
    },
    damages: [
      [
        `is missing in ${other.join(" ")}`,
        (w) => w.nftables.deleteElements(other[0], "weft", other[1], [element(MACS[0])]),
      ],
      [
        "missing",
        (w) => {
          for (const s of [set, other]) w.nftables.deleteElements(s[0], "weft", s[1], [element(MACS[0])]);
        },
      ],
      ["missing", (w) => w.nftables.run("delete table inet weft")],
      ["missing", (w) => w.nftables.run("delete table arp weft")],
      ["missing", (w) => w.nftables.run("flush chain inet weft from_pod")],
      ["missing", (w) => w.nftables.run("delete table inet weft\ndelete table arp weft")],
    ],
    leftovers: [
      [
        `${row.link} ${MACS[2]} ${ip}`,
        (w) => w.nftables.addElements(set[0], "weft", set[1], [element(MACS[2])]),
      ],
    ],
    foreign: {
      make: (w) => w.nftables.run("table inet other {\n set weft { type mark; elements = { 1 } }\n}\n"),
      stands: (w) => w.nftables.elements("inet", "other", "weft", ["mark"], 4).length === 1,
    },
  };
}

function masqueradeCase(kind: "masquerade-source" | "masquerade-inside", text: string): Case {
  const row = { kind, prefix: parsePrefix(text), origin };
  const six = text.includes(":");
  const set = `${kind === "masquerade-source" ? "sources" : "inside"}${six ? 6 : 4}`;
  const [half, whole, other] = six
    ? ["fd00:10:244:1::/65", "fd00:10:244::/48", "10.244.9.0/24"]
    : ["10.244.1.0/25", "10.244.0.0/16", "fd00:10:244:9::/64"];
  const table = "inet weft-masquerade";
  const leftover = six ? "fd99::1-fd99::7" : "10.99.0.0/16";
  return {
    name: `${kind} ${text}`,
    needs: [],
    row,
    variants: {
      "a part of it": { ...row, prefix: parsePrefix(half) },
      "more than it": { ...row, prefix: parsePrefix(whole) },
      "the other family": { ...row, prefix: parsePrefix(other) },
    },
    damages: [
      ["missing", (w) => w.nftables.run(`delete element ${table} ${set} { ${text} }`)],
      [
        "missing",
        (w) => w.nftables.run(`flush set ${table} ${set}\nadd element ${table} ${set} { ${half} }`),
      ],
      [
        "missing",
        (w) => w.nftables.run(`flush set ${table} ${set}\nadd element ${table} ${set} { ${whole} }`),
      ],
      ["missing", (w) => w.nftables.run(`flush set ${table} ${set}`)],
      ["missing", (w) => w.nftables.run(`flush chain ${table} postrouting`)],
      ["missing", (w) => w.nftables.run(`flush chain ${table} untranslated`)],
      ["missing", (w) => w.nftables.run(`delete table ${table}`)],
    ],
    leftovers: [[leftover, (w) => w.nftables.run(`add element ${table} ${set} { ${leftover} }`)]],
    foreign: {
      make: (w) => w.nftables.run(`table inet other {\n set ${set} { type mark; elements = { 1 } }\n}\n`),
      stands: (w) => w.nftables.elements("inet", "other", set, ["mark"], 4).length === 1,
    },
  };
}

function hostPortCase(address: string, target: string, otherTarget: string): Case {
  const row: PlanRowOf<"host-port"> = {
    kind: "host-port",
    address: parseIp(address),
    protocol: "tcp",
    port: 8080,
    target: parseIp(target),
    targetPort: 80,
    origin,
  };
  const six = address.includes(":");
  const any = address === (six ? "::" : "0.0.0.0");
  const map = `inet weft-hostports ${any ? "any" : "addressed"}${six ? 6 : 4}`;
  const key = (port: number, protocol = "tcp"): string =>
    `${any ? "" : `${address} . `}${protocol} . ${port}`;
  const host = six ? `[${address}]` : address;
  const replace =
    (to: string): Action =>
    (w) =>
      w.nftables.run(`delete element ${map} { ${key(8080)} }\nadd element ${map} { ${key(8080)} : ${to} }`);
  const named = six ? "fd57:eff7:0:1::11" : "198.18.1.11";
  return {
    name: `host-port ${address}`,
    needs: [],
    row,
    variants: {
      protocol: { ...row, protocol: "udp" },
      "a protocol that few know": { ...row, protocol: "sctp" },
      port: { ...row, port: 53 },
      target: { ...row, target: parseIp(otherTarget) },
      "target's port": { ...row, targetPort: 8080 },
      address: { ...row, address: parseIp(any ? named : six ? "::" : "0.0.0.0") },
    },
    damages: [
      ["missing", (w) => w.nftables.run(`delete element ${map} { ${key(8080)} }`)],
      [`leads to ${otherTarget} . 80, not ${target} . 80`, replace(`${otherTarget} . 80`)],
      [`leads to ${target} . 81, not ${target} . 80`, replace(`${target} . 81`)],
      ["missing", (w) => w.nftables.run("flush chain inet weft-hostports published")],
      ["missing", (w) => w.nftables.run("flush chain inet weft-hostports output")],
      ["missing", (w) => w.nftables.run("delete table inet weft-hostports")],
    ],
    leftovers: [
      [`${host}:8081/tcp`, (w) => w.nftables.run(`add element ${map} { ${key(8081)} : ${target} . 80 }`)],
      [
        `${host}:8080/udp`,
        (w) => w.nftables.run(`add element ${map} { ${key(8080, "udp")} : ${target} . 80 }`),
      ],
      [
        `${host}:8080/1`,
        (w) => w.nftables.run(`add element ${map} { ${key(8080, "icmp")} : ${target} . 80 }`),
      ],
    ],
    foreign: {
      make: (w) => w.nftables.run("table inet other {\n set any4 { type mark; elements = { 1 } }\n}\n"),
      stands: (w) => w.nftables.elements("inet", "other", "any4", ["mark"], 4).length === 1,
    },
  };
}

function hostPortHairpinCase(ip: string, other: string): Case {
  const row: PlanRowOf<"host-port-hairpin"> = { kind: "host-port-hairpin", ip: parseIp(ip), origin };
  const set = `inet weft-hostports hairpins${ip.includes(":") ? 6 : 4}`;
  return {
    name: `host-port-hairpin ${ip}`,
    needs: [],
    row,
    variants: {
      ip: { ...row, ip: parseIp(other) },
      family: { ...row, ip: parseIp(ip.includes(":") ? "10.244.1.9" : "fd00:10:244:1::9") },
    },
    damages: [
      ["missing", (w) => w.nftables.run(`delete element ${set} { ${ip} . ${ip} }`)],
      ["missing", (w) => w.nftables.run("flush chain inet weft-hostports postrouting")],
      ["missing", (w) => w.nftables.run("delete table inet weft-hostports")],
    ],
    leftovers: [
      [other, (w) => w.nftables.run(`add element ${set} { ${other} . ${other} }`)],
      [`${ip} . ${other}`, (w) => w.nftables.run(`add element ${set} { ${ip} . ${other} }`)],
    ],
    foreign: {
      make: (w) => w.nftables.run("table inet other {\n set any4 { type mark; elements = { 1 } }\n}\n"),
      stands: (w) => w.nftables.elements("inet", "other", "any4", ["mark"], 4).length === 1,
    },
  };
}

const sysctl: PlanRowOf<"sysctl"> = {
  kind: "sysctl",
  stage: 1,
  key: "net/ipv4/ip_forward",
  value: "1",
  origin,
};
const sysctlCase: Case = {
  name: "sysctl",
  needs: [],
  row: sysctl,
  variants: { value: { ...sysctl, value: "0" } },
  damages: [["is 0, not 1", (w) => w.self.setSysctl("net/ipv4/ip_forward", "0")]],
};

export const CASES: readonly Case[] = [
  tunnelCase,
  addressCase("10.244.1.1/32"),
  addressCase("fd00:10:244:1::1/128"),
  neighbourCase(parseIp("10.244.2.1")),
  neighbourCase(parseIp("fd00:10:244:2::1")),
  forwardingCase,
  routeCase({
    to: "10.244.3.0/24",
    via: "10.244.3.1",
    otherVia: "10.244.3.9",
    source: "10.244.1.1",
    otherSource: "10.244.1.2",
    onUplink: "198.18.1.12",
  }),
  routeCase({
    to: "fd00:10:244:3::/64",
    via: "fd00:10:244:3::1",
    otherVia: "fd00:10:244:3::9",
    source: "fd00:10:244:1::1",
    otherSource: "fd00:10:244:1::2",
    onUplink: "fd57:eff7:0:1::12",
  }),
  ruleCase("10.244.1.0/24"),
  ruleCase("fd00:10:244:1::/64"),
  allowedSourceCase(parseIp("10.244.1.5")),
  allowedSourceCase(parseIp("fd00:10:244:1::5")),
  masqueradeCase("masquerade-source", "10.244.1.0/24"),
  masqueradeCase("masquerade-source", "fd00:10:244:1::/64"),
  masqueradeCase("masquerade-inside", "10.244.1.0/24"),
  masqueradeCase("masquerade-inside", "fd00:10:244:1::/64"),
  hostPortCase("0.0.0.0", "10.244.1.5", "10.244.1.6"),
  hostPortCase("127.0.0.1", "10.244.1.5", "10.244.1.6"),
  hostPortCase("::", "fd00:10:244:1::5", "fd00:10:244:1::6"),
  hostPortCase("fd57:eff7:0:1::77", "fd00:10:244:1::5", "fd00:10:244:1::6"),
  hostPortHairpinCase("10.244.1.5", "10.244.1.6"),
  hostPortHairpinCase("fd00:10:244:1::5", "fd00:10:244:1::6"),
  sysctlCase,
];
