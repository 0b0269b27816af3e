/** Stale flows of the real table of services, where refusing and what is invalid have their say too. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { type Family, type Prefix, silentLogger, systemClock } from "@weft/base";
import { type ConntrackHandle, createConntrack } from "@weft/kernel/conntrack";
import { breaks, dial, hear, hold } from "@weft/kernel/netns/testing";
import { closeFd, MSG_NOSIGNAL, sendBytes } from "@weft/kernel/sys";
import type { FrontendRow, Transport } from "@weft/model";
import { ADDRESS, type Place, ServiceNetwork } from "../services/testing/network.ts";
import { backends, frontend, nodeRows, serviceIp } from "../services/testing/rows.ts";
import { TestServices } from "../services/testing/services.ts";
import { createFlowCleaner } from "./cleaner.ts";
import { countFlows } from "./counts.ts";
import type { FlowContext, Frontend } from "./stale.ts";

let network: ServiceNetwork;
let services: TestServices;
let ct: ConntrackHandle;
beforeAll(() => {
  network = new ServiceNetwork();
  services = new TestServices(network.nft);
  ct = createConntrack(network.handle("node"));
});
afterAll(async () => {
  ct.close();
  await services.stop();
  network.close();
});

let rows: readonly FrontendRow[] = [];
afterEach(async () => {
  rows = [];
  await services.go(nodeRows());
  network.flush();
});

const rowsOf = (match: FrontendRow["match"]): Frontend => ({
  any: rows.find((r) => r.scope === "any" && Bun.deepEquals(r.match, match)),
  outside: rows.find((r) => r.scope === "outside" && Bun.deepEquals(r.match, match)),
});
const context = (resetConnections: boolean): FlowContext => ({
  nodePortAddresses: [ADDRESS.node[4], ADDRESS.node[6]],
  inside: [
    ...(["10.244.0.0/24", "fd00:244::/64"] as Prefix[]),
    `${ADDRESS.node[4]}/32` as Prefix,
    `${ADDRESS.node[6]}/128` as Prefix,
  ],
  resetConnections,
});

/** The frontends, in the kernel, and then without stale flows; the result is how many went. */
async function become(after: readonly FrontendRow[], resetConnections = false): Promise<number> {
  const before = rows;
  rows = after;
  await services.go([...nodeRows(), ...after]);
  const cleaner = createFlowCleaner({
    conntrack: ct,
    clock: systemClock,
    logger: silentLogger,
    frontend: rowsOf,
    context: () => context(resetConnections),
  });
  const same = (a: FrontendRow) => (b: FrontendRow) =>
    a.scope === b.scope && Bun.deepEquals(a.match, b.match);
  for (const row of after) cleaner.changed(before.find(same(row)), row);
  for (const row of before) if (!after.some(same(row))) cleaner.changed(row, undefined);
  await cleaner.idle();
  expect(cleaner.statistics.error).toBeUndefined();
  return cleaner.statistics.removed;
}

describe.each([4, 6] as const satisfies readonly Family[])("IPv%d", (family) => {
  const ip = serviceIp(family, 1);
  const service = (protocol: Transport, ...places: Place[]): FrontendRow =>
    frontend({
      family,
      address: ip,
      protocol,
      backends: backends(family, ...places),
      action: places.length === 0 ? "reject" : "balance",
    });
  /** Who answers a client that always sends from one port. */
  const ask = async (from: Place, to = { ip, port: 80 }): Promise<string> => {
    const d = { ...to, protocol: "udp", fromPort: 4000 } as const;
    return (await dial(network.handle(from), network.servers, d)).split(" ")[0] as string;
  };

  test.each(["client", "b", "node"] as const)(
    "udp of %s: a backend leaves, all leave, one comes",
    async (from) => {
      await become([service("udp", "a")]);
      expect(await ask(from)).toBe("a");
      expect(await become([service("udp", "c")])).toBe(1);
      expect(await ask(from)).toBe("c");
      expect(await become([service("udp")])).toBe(1);
      expect(await ask(from)).toBe(from === "node" ? "EPERM" : "ECONNREFUSED");
      await become([service("udp", "a")]);
      expect(await ask(from)).toBe("a");
      expect(await become([])).toBe(1);
    },
  );

  test("udp of a node port: those outside are kept to local backends, those inside keep theirs", async () => {
    const port = { ip: ADDRESS.node[family], port: 30080 };
    const nodePort = (scope: "any" | "outside", ...places: Place[]): FrontendRow =>
      frontend({
        family,
        address: "node",
        port: 30080,
        protocol: "udp",
        scope,
        backends: backends(family, ...places),
      });
    await become([nodePort("any", "c")]);
    expect([await ask("client", port), await ask("b", port)]).toEqual(["c", "c"]);
    expect(await become([nodePort("any", "c"), nodePort("outside", "a")])).toBe(1);
    expect([await ask("client", port), await ask("b", port)]).toEqual(["a", "c"]);
    const counts = await countFlows(ct, rows, rowsOf, context(false));
    expect([...counts.values()]).toEqual([[1], [1]]);
  });

  test.each(["client", "b"] as const)(
    "tcp of %s: goes on, or is reset, as the setting says",
    async (from) => {
      await become([service("tcp", "a")]);
      const { fd } = await hold(network.handle(from), network.servers, { ip, port: 80 });
      try {
        expect(await become([service("tcp", "c")])).toBe(0);
        sendBytes(fd, Buffer.from("x"), MSG_NOSIGNAL);
        expect(await hear(fd, network.servers)).toStartWith("a from");
        await become([service("tcp", "a", "c")]);
        expect(await become([service("tcp", "c")], true)).toBe(1);
        expect(await breaks(fd)).toBe("ECONNRESET");
      } finally {
        closeFd(fd);
      }
    },
  );
});
