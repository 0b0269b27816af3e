/**
 * The network below the machines, in namespaces of its own:
 *
 *   rack1   rack2      bridges in the namespace "fabric", one subnet each, machines on them
 *      \     /
 *      router          default route of every machine; knows no pod
 *         |
 *      outside         a host that is no part of the cluster
 *
 * Nothing here has a link to the root namespace: no packet can leave the host.
 */
import { existsSync, readdirSync } from "node:fs";
import { run, until } from "../command.ts";
import { PREFIX } from "../paths.ts";

export const RACKS = 2;
export const OUTSIDE = { ipv4: "192.0.2.2", ipv6: "2001:db8:0:2::2" } as const;

/** Address of the machine with that number (1 to 254) in that rack, without its prefix length. */
export const address4 = (rack: number, number: number): string => `172.31.${rack}.${number}`;
export const address6 = (rack: number, number: number): string =>
  `fd00:172:31:${rack}::${number.toString(16)}`;

const ROUTER_NUMBER = 1;
const OUTSIDE_ROUTER = { ipv4: "192.0.2.1", ipv6: "2001:db8:0:2::1" } as const;

export class Underlay {
  /** Begins the names of this cluster's namespaces. */
  readonly prefix: string;

  constructor(cluster: string) {
    this.prefix = `${PREFIX}${cluster}-`;
  }

  namespace(machine: string): string {
    return `${this.prefix}${machine}`;
  }

  async make(): Promise<void> {
    for (const name of ["fabric", "router", "outside"]) await this.addNamespace(name);
    for (let rack = 1; rack <= RACKS; rack++) {
      await this.ip(
        "fabric",
        ["link", "add", `rack${rack}`, "type", "bridge"],
        ["link", "set", `rack${rack}`, "up"],
      );
      await this.plug("router", `rack${rack}`, rack, ROUTER_NUMBER);
    }
    await run([
      ...["ip", "-n", this.namespace("router"), "link", "add", "outside", "type", "veth"],
      ...["peer", "name", "eth0", "netns", this.namespace("outside")],
    ]);
    await this.ip(
      "router",
      ["addr", "add", `${OUTSIDE_ROUTER.ipv4}/24`, "dev", "outside"],
      ["addr", "add", `${OUTSIDE_ROUTER.ipv6}/64`, "dev", "outside", "nodad"],
      ["link", "set", "outside", "up"],
    );
    await this.ip(
      "outside",
      ["addr", "add", `${OUTSIDE.ipv4}/24`, "dev", "eth0"],
      ["addr", "add", `${OUTSIDE.ipv6}/64`, "dev", "eth0", "nodad"],
      ["link", "set", "eth0", "up"],
      ["route", "add", "default", "via", OUTSIDE_ROUTER.ipv4],
      ["route", "add", "default", "via", OUTSIDE_ROUTER.ipv6],
    );
    const forwarding = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];
    await run(["ip", "netns", "exec", this.namespace("router"), "sysctl", "-q", "-w", ...forwarding]);
  }

  /** A namespace for a machine, with eth0 on the rack's bridge, both families' addresses and default routes. */
  async addMachine(machine: string, rack: number, number: number): Promise<void> {
    await this.addNamespace(machine);
    await this.plug(machine, "eth0", rack, number);
    await this.ip(
      machine,
      ["route", "add", "default", "via", address4(rack, ROUTER_NUMBER)],
      ["route", "add", "default", "via", address6(rack, ROUTER_NUMBER)],
    );
  }

  /** Other addresses for a machine that runs on: the new ones first, as an administrator would. */
  async renumberMachine(machine: string, rack: number, from: number, to: number): Promise<void> {
    await run([
      ...["ip", "netns", "exec", this.namespace(machine)],
      // Else the kernel takes a subnet's later addresses away together with its first one.
      ...["sysctl", "-q", "-w", "net.ipv4.conf.all.promote_secondaries=1"],
    ]);
    await this.ip(
      machine,
      ["addr", "add", `${address4(rack, to)}/24`, "dev", "eth0"],
      ["addr", "add", `${address6(rack, to)}/64`, "dev", "eth0", "nodad"],
      ["addr", "del", `${address4(rack, from)}/24`, "dev", "eth0"],
      ["addr", "del", `${address6(rack, from)}/64`, "dev", "eth0"],
    );
  }

  async removeMachine(machine: string): Promise<void> {
    await run(["ip", "netns", "del", this.namespace(machine)]);
    // The port in the fabric goes when the namespace's links do, some time after its name.
    const ports = async (): Promise<string> => run(["ip", "-n", this.namespace("fabric"), "-o", "link"]);
    await until(`${machine} unplugged`, 10, async () =>
      new RegExp(` ${machine}[12]@`).test(await ports()) ? undefined : true,
    );
  }

  /** Runs `ip` with each of these lists of arguments in that namespace. */
  async ip(machine: string, ...commands: readonly (readonly string[])[]): Promise<void> {
    const batch = commands.map((words) => `${words.join(" ")}\n`).join("");
    await run(["ip", "-n", this.namespace(machine), "-batch", "-"], { input: batch });
  }

  private async addNamespace(machine: string): Promise<void> {
    await run(["ip", "netns", "add", this.namespace(machine)]);
    await this.ip(machine, ["link", "set", "lo", "up"]);
  }

  private async plug(machine: string, link: string, rack: number, number: number): Promise<void> {
    const port = `${machine}${rack}`;
    await run([
      ...["ip", "-n", this.namespace("fabric"), "link", "add", port, "type", "veth"],
      ...["peer", "name", link, "netns", this.namespace(machine)],
    ]);
    await this.ip("fabric", ["link", "set", port, "master", `rack${rack}`, "up"]);
    // The same after a reboot: neighbours need not learn a machine anew.
    const hex = (n: number): string => n.toString(16).padStart(2, "0");
    await this.ip(
      machine,
      ["link", "set", link, "address", `02:e2:e0:00:${hex(rack)}:${hex(number)}`],
      ["addr", "add", `${address4(rack, number)}/24`, "dev", link],
      ["addr", "add", `${address6(rack, number)}/64`, "dev", link, "nodad"],
      ["link", "set", link, "up"],
    );
  }
}

/** Removes every network namespace whose name begins so. */
export async function removeNamespaces(prefix: string): Promise<void> {
  if (!existsSync("/run/netns")) return;
  for (const name of readdirSync("/run/netns").filter((n) => n.startsWith(prefix)))
    await run(["ip", "netns", "del", name]);
}
