import { test } from "bun:test";
import { hostPrefix, linkLocalOf, parseIp, familyOf } from "@weft/base";
import { spawnSyncIn, spawnIn } from "@weft/kernel/netns";
import { attachmentCase, UPLINK } from "../testing/cases.ts";
import { TestNode } from "../testing/node.ts";
import { realWorld } from "../testing/worlds.ts";
test("x", async () => {
 let bad = 0;
 for (let k = 0; k < 40 && bad < 3; k++) {
  const world = realWorld(); world.setUplink(1500, UPLINK); const container = world.newContainer(); const node = new TestNode(world);
  const row: any = attachmentCase(container, "dual").row; const { origin, hostLink, mac, addresses } = row;
  const run = (w: any, c: string) => { const r = spawnSyncIn(w, c.split(" ")); return r.exitCode + " " + r.stdout.toString()+r.stderr.toString(); };
  const t0 = performance.now();
  await node.go([row, ...[...addresses, linkLocalOf(mac)].map((ip: any) => ({ kind: "allowed-source", link: hostLink, mac, ip, origin })),
    ...addresses.flatMap((ip: any) => [{ kind: "neighbour", link: hostLink, ip, mac, origin }, { kind: "route", destination: hostPrefix(ip), table: 254, type: "unicast", link: hostLink, gateway: undefined, onlink: false, source: parseIp(familyOf(ip) === 4 ? "198.18.1.11" : "fd57:eff7:0:1::11"), metric: 87, origin }])] as any);
  const t1 = performance.now();
  const before = run(world.self, "cat /proc/net/snmp6");
  const beforeC = run(container.inside, "cat /proc/net/snmp6");
  const order = process.env.ORDER === "6" ? ["fd57:eff7:0:1::11"] : ["198.18.1.11", "fd57:eff7:0:1::11"];
  for (const to of order) {
    const r = run(container.inside, `ping -n -c 1 -W 1 ${to}`);
    if (!r.startsWith("0")) { bad++; console.log(k, to, r.slice(0, 200), (t1 - t0).toFixed(0));
      const diff = (a: string, b: string) => b.split("\n").filter((l) => !a.includes(l)).join("; ");
      console.log("self", diff(before, run(world.self, "cat /proc/net/snmp6")));
      console.log("pod", diff(beforeC, run(container.inside, "cat /proc/net/snmp6")));
      console.log(run(world.self, "ip -6 addr"), run(world.self, "ip -6 route show table all"), run(container.inside, "ip -6 route show table all"), run(container.inside, "ip -s link"), run(world.self, "ip -s link"));
    }
  }
  world.close();
 }
}, 60000);
