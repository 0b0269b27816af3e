/**
 * A node with services and what is around it, in namespaces without names, which are gone with the process:
 *
 *     client 10.0.0.100 --- eth0 10.0.0.1 node --- weft0a --- pod a 10.244.0.10
 *     (the node's default route)               |-- weft0b --- pod b 10.244.0.11
 *                                              |-- weft-tun 10.244.0.1 --- remote: pod c 10.244.1.10, which knows no
 *                                                                           way back but to 10.244.0.0/24
 *
 * the same in IPv6 (fd00:10::, fd00:244:0::). weft-tun stands for the tunnel to another node.
 */
import { type Family, type IpAddress, parseMac } from "@weft/base";
import { NETLINK, NetlinkSocket, NetlinkWriter } from "@weft/kernel/netlink";
import { createAnonymous, inNetns, type NetnsHandle } from "@weft/kernel/netns";
import { Server } from "@weft/kernel/netns/testing";
import { createNftables, type NftablesHandle } from "@weft/kernel/nftables";
import { LinkRemover, RealNamespace } from "@weft/kernel/rtnetlink";

export type Place = "client" | "node" | "a" | "b" | "c";
const PLACES: readonly Place[] = ["client", "node", "a", "b", "c"];

export const ADDRESS: Readonly<Record<Place, Readonly<Record<Family, IpAddress>>>> = {
  client: { 4: "10.0.0.100" as IpAddress, 6: "fd00:10::100" as IpAddress },
  node: { 4: "10.0.0.1" as IpAddress, 6: "fd00:10::1" as IpAddress },
  a: { 4: "10.244.0.10" as IpAddress, 6: "fd00:244:0::10" as IpAddress },
  b: { 4: "10.244.0.11" as IpAddress, 6: "fd00:244:0::11" as IpAddress },
  c: { 4: "10.244.1.10" as IpAddress, 6: "fd00:244:1::10" as IpAddress },
};
// Canonical text.
for (const place of PLACES) {
  const of = ADDRESS[place] as Record<Family, IpAddress>;
  of[6] = of[6].replace("fd00:244:0::", "fd00:244::") as IpAddress;
}
export const TUNNEL: Readonly<Record<Family, IpAddress>> = {
  4: "10.244.0.1" as IpAddress,
  6: "fd00:244::1" as IpAddress,
};
/** Message 2 of subsystem 1 of nfnetlink, connection tracking. */
const IPCTNL_MSG_CT_DELETE = (1 << 8) | 2;
/** Where all servers listen. */
export const SERVER_PORT = 8080;

const mac = (n: number) => parseMac(`02:00:00:00:01:0${n}`);

export class ServiceNetwork {
  readonly nft: NftablesHandle;
  readonly servers: readonly Server[];
  readonly #namespaces: Readonly<Record<Place, RealNamespace>>;
  readonly #handles: Readonly<Record<Place, NetnsHandle>>;

  constructor() {
    const remover = new LinkRemover();
    const handles = {} as Record<Place, NetnsHandle>;
    const namespaces = {} as Record<Place, RealNamespace>;
    for (const place of PLACES) {
      handles[place] = createAnonymous();
      namespaces[place] = new RealNamespace(handles[place], remover);
    }
    this.#handles = handles;
    this.#namespaces = namespaces;
    const { client, node, a, b, c } = namespaces;
    const join = (link: string, other: RealNamespace, name: string, n: number): void =>
      node.createVeth({
        name: link,
        mac: mac(n),
        mtu: 1500,
        addressGeneration: "none",
        peer: { name, mac: mac(n + 1), mtu: 1500, namespace: other },
      });
    join("eth0", client, "eth0", 0);
    join("weft0a", a, "eth0", 2);
    join("weft0b", b, "eth0", 4);
    join("weft-tun", c, "eth0", 6);
    for (const key of ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"]) node.setSysctl(key, "1");
    for (const of of ["all", "default", "weft0a", "weft0b"]) {
      node.setSysctl(`net/ipv4/conf/${of}/rp_filter`, "0");
      // A pod that reaches itself by way of the node is told of a shorter way, from the same budget as of errors.
      node.setSysctl(`net/ipv4/conf/${of}/send_redirects`, "0");
    }
    this.ip(
      "client",
      ...up("eth0"),
      "addr add 10.0.0.100/24 dev eth0",
      "addr add fd00:10::100/64 dev eth0 nodad",
    );
    this.ip("client", "route add default via 10.0.0.1", "route add default via fd00:10::1");
    const local = (pod: "a" | "b"): string[] => [
      ...up(`weft0${pod}`),
      `addr add 169.254.1.1/32 dev weft0${pod}`,
      `addr add fe80::1/64 dev weft0${pod} nodad`,
      `route add ${ADDRESS[pod][4]} dev weft0${pod}`,
      `route add ${ADDRESS[pod][6]} dev weft0${pod}`,
      `neigh add ${ADDRESS[pod][4]} dev weft0${pod} lladdr ${mac(pod === "a" ? 3 : 5)}`,
      `neigh add ${ADDRESS[pod][6]} dev weft0${pod} lladdr ${mac(pod === "a" ? 3 : 5)}`,
    ];
    this.ip(
      "node",
      ...up("eth0"),
      "addr add 10.0.0.1/24 dev eth0",
      "addr add fd00:10::1/64 dev eth0 nodad",
      // What it forwards it asks for neighbours from its link-local address; without one it never asks (RFC 4861, 7.2.2).
      "addr add fe80::1/64 dev eth0 nodad",
      ...local("a"),
      ...local("b"),
      ...up("weft-tun"),
      "addr add 10.244.0.1/32 dev weft-tun",
      "addr add fd00:244::1/128 dev weft-tun nodad",
      "addr add fe80::1/64 dev weft-tun nodad",
      "route add 10.244.1.0/24 dev weft-tun src 10.0.0.1",
      `neigh add ${ADDRESS.c[4]} dev weft-tun lladdr ${mac(7)}`,
      "route add fd00:244:1::/64 dev weft-tun src fd00:10::1",
      `neigh add ${ADDRESS.c[6]} dev weft-tun lladdr ${mac(7)}`,
      "route add default via 10.0.0.100",
      "route add default via fd00:10::100",
    );
    for (const [pod, n] of [
      ["a", 2],
      ["b", 4],
    ] as const)
      this.ip(
        pod,
        ...up("eth0"),
        `addr add ${ADDRESS[pod][4]}/32 dev eth0`,
        `addr add ${ADDRESS[pod][6]}/128 dev eth0 nodad`,
        "route add 169.254.1.1 dev eth0",
        `neigh add 169.254.1.1 dev eth0 lladdr ${mac(n)}`,
        `neigh add fe80::1 dev eth0 lladdr ${mac(n)}`,
        "route add default via 169.254.1.1",
        "route add default via fe80::1 dev eth0",
      );
    this.ip(
      "c",
      ...up("eth0"),
      `addr add ${ADDRESS.c[4]}/32 dev eth0`,
      `addr add ${ADDRESS.c[6]}/128 dev eth0 nodad`,
      "neigh add 169.254.1.1 dev eth0 lladdr 02:00:00:00:01:06",
      "neigh add fe80::1 dev eth0 lladdr 02:00:00:00:01:06",
      "route add 169.254.1.1 dev eth0",
      "route add 10.244.0.0/24 via 169.254.1.1",
      "route add fd00:244::/64 via fe80::1 dev eth0",
    );
    this.nft = createNftables(handles.node);
    this.servers = (["a", "b", "c", "node"] as const).map(
      (place) => new Server(handles[place], place, SERVER_PORT),
    );
  }

  handle(place: Place): NetnsHandle {
    return this.#handles[place];
  }

  /** Runs lines of ip -batch in a place. */
  ip(place: Place, ...lines: string[]): void {
    this.run(place, ["ip", "-batch", "-"], `${lines.join("\n")}\n`);
  }

  /** Standard output of a program in a place; throws when it fails. */
  run(place: Place, argv: string[], input = ""): string {
    const result = inNetns(this.#handles[place].fd, () =>
      Bun.spawnSync(argv, { stdin: Buffer.from(input), stdout: "pipe", stderr: "pipe" }),
    );
    if (result.exitCode !== 0) throw new Error(`${argv.join(" ")}: ${result.stderr}`);
    return result.stdout.toString();
  }

  /** Forgets all connections: what a test left does not decide the next one. */
  flush(): void {
    const socket = new NetlinkSocket(NETLINK.netfilter, { namespace: this.#handles.node.fd });
    try {
      // Of any family, and no connection in particular.
      const request = new NetlinkWriter().begin(IPCTNL_MSG_CT_DELETE, 0).raw(new Uint8Array(4)).finish();
      socket.request(request, { call: "IPCTNL_MSG_CT_DELETE" });
    } finally {
      socket.close();
    }
  }

  close(): void {
    for (const server of this.servers) server.close();
    this.nft.close();
    for (const place of PLACES) this.#namespaces[place].close();
  }
}

const up = (link: string): string[] => ["link set lo up", `link set ${link} up`];
