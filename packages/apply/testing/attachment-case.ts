/** The attachment of a container: how it can change, and what can happen to either end of its pair. */
import { parseIp, parseIpWithLength, parsePrefix } from "@weft/base";
import type { PlanRowOf } from "@weft/model";
import { type Case, MACS } from "./cases.ts";
import type { Container, World } from "./worlds.ts";

const POD = "weft0000000000a";
const IP4 = parseIp("10.244.1.5");
const IP6 = parseIp("fd00:10:244:1::5");

/** The attachment of a container, with the rows that hang on its link. */
export function attachmentCase(container: Container, family: "IPv4" | "IPv6" | "dual"): Case {
  const addresses = family === "IPv4" ? [IP4] : family === "IPv6" ? [IP6] : [IP4, IP6];
  const row: PlanRowOf<"attachment"> = {
    kind: "attachment",
    workload: "a/eth0",
    namespacePath: container.path,
    namespaceIdentity: container.identity,
    hostLink: POD,
    hostMac: MACS[0],
    alias: "pod default/a",
    interface: "eth0",
    mac: MACS[1],
    mtu: 1450,
    addresses,
    origin: { kind: "Pod", namespace: "default", name: "a" },
  };
  const { inside } = container;
  const six = family !== "IPv4";
  const ip = six ? IP6 : IP4;
  const gateway = parseIp(six ? "fe80::1" : "169.254.1.1");
  const onGateway = parseIpWithLength(six ? "fe80::1/64" : "169.254.1.1/32");
  const onPod = parseIpWithLength(six ? `${IP6}/128` : `${IP4}/32`);
  const byDefault = six
    ? { destination: parsePrefix("::/0"), metric: 1024 }
    : { destination: parsePrefix("0.0.0.0/0") };
  const it = "eth0 in the container";
  return {
    name: `attachment, ${family}`,
    needs: [],
    row,
    variants: {
      alias: { ...row, alias: "pod default/b" },
      mac: { ...row, mac: MACS[2] },
      "the node's end's mac": { ...row, hostMac: MACS[2] },
      mtu: { ...row, mtu: 1400 },
      "the node's end's name": { ...row, hostLink: "weft0000000000b" },
      "other addresses": { ...row, addresses: addresses.map((a) => parseIp(a.replace(/5$/, "9"))) },
    },
    damages: [
      ["missing", (w) => w.self.deleteLink(POD)],
      ["missing", () => inside.deleteLink("eth0")],
      ["mtu is 1400, not 1450", (w) => w.self.changeLink(POD, { mtu: 1400 })],
      [`mac is ${MACS[2]}, not ${MACS[0]}`, (w) => w.self.changeLink(POD, { mac: MACS[2] })],
      ["up is false, not true", (w) => w.self.changeLink(POD, { up: false })],
      ["alias is x, not pod default/a", (w) => w.self.changeLink(POD, { alias: "x" })],
      [
        "address generation is eui64, not none",
        (w) => w.self.changeLink(POD, { addressGeneration: "eui64" }),
      ],
      [`gateway ${gateway} is absent`, (w) => w.self.deleteAddress(POD, onGateway)],
      [
        "10.9.9.9/32 is not asked for",
        (w) => w.self.replaceAddress({ link: POD, address: parseIpWithLength("10.9.9.9/32") }),
      ],
      [`${it}: mtu is 1300, not 1450`, () => inside.changeLink("eth0", { mtu: 1300 })],
      [`${it}: mtu is 1000, not 1450`, () => inside.changeLink("eth0", { mtu: 1000 })],
      [`${it}: mac is ${MACS[2]}, not ${MACS[1]}`, () => inside.changeLink("eth0", { mac: MACS[2] })],
      [`${it}: up is false, not true`, () => inside.changeLink("eth0", { up: false })],
      [`${it}: ${onPod} is absent`, () => inside.deleteAddress("eth0", onPod)],
      [`${it}: the gateway's neighbour entry is absent`, () => inside.deleteNeighbour("eth0", gateway)],
      [
        `${it}: the gateway's neighbour entry is absent`,
        () => inside.replaceNeighbour("eth0", gateway, MACS[2]),
      ],
      [
        `${it}: route ${byDefault.destination} is absent`,
        () => inside.deleteRoute({ ...byDefault, link: "eth0" }),
      ],
      ["eth0 is absent in the container", () => renamed(inside)],
      ...(six
        ? ([
            [`${it}: accept_ra is 1, not 0`, () => inside.setSysctl("net/ipv6/conf/eth0/accept_ra", "1")],
            [`${it}: ${ip}/128 is absent`, () => inside.setSysctl("net/ipv6/conf/eth0/disable_ipv6", "1")],
            [
              `gateway ${gateway} is absent`,
              (w: World) => w.self.setSysctl(`net/ipv6/conf/${POD}/disable_ipv6`, "1"),
            ],
          ] as const)
        : []),
    ],
    leftovers: [
      [
        "link weft0123456789a",
        (w) =>
          w.self.createVeth({
            name: "weft0123456789a",
            mac: MACS[2],
            mtu: 1400,
            peer: { name: "p", mac: MACS[1], mtu: 1400 },
          }),
      ],
    ],
    foreign: {
      make: (w) => {
        w.self.createVeth({
          name: "weftless",
          mac: MACS[2],
          mtu: 1400,
          peer: { name: "veth9", mac: MACS[1], mtu: 1400 },
        });
        inside.changeLink("lo", { up: true });
        inside.replaceAddress({ link: "eth0", address: parseIpWithLength("10.99.0.1/32") });
      },
      stands: (w) => w.self.link("weftless") !== undefined && inside.link("lo")?.up === true,
    },
  };
}

function renamed(inside: Container["inside"]): void {
  inside.changeLink("eth0", { up: false });
  inside.changeLink("eth0", { rename: "net0" });
}
