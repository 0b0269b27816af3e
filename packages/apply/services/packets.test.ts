/** Services with real packets: who answers, whom it sees, and what refuses. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import type { Family } from "@weft/base";
import type { ServicePlanRow } from "@weft/model";
import { ADDRESS, type Place, ServiceNetwork, TUNNEL } from "./testing/network.ts";
import { backends, frontend, nodeRows, serviceIp } from "./testing/rows.ts";
import { type Dial, dial } from "./testing/server.ts";
import { TestServices } from "./testing/services.ts";

let network: ServiceNetwork;
let services: TestServices;
beforeAll(() => {
  network = new ServiceNetwork();
  services = new TestServices(network.nft);
});
afterAll(async () => {
  await services.stop();
  network.close();
});
afterEach(() => network.flush());

const have = (...rows: ServicePlanRow[]): Promise<void> => services.go([...nodeRows(), ...rows]);
const ask = (from: Place, to: Dial): Promise<string> => dial(network.handle(from), network.servers, to);

for (const family of [4, 6] as const satisfies readonly Family[]) {
  const at = (n: number) => serviceIp(family, n);
  const ip = (place: Place) => ADDRESS[place][family];
  describe(`IPv${family}`, () => {
    for (const protocol of ["tcp", "udp"] as const) {
      test(`${protocol}: everybody reaches the backends, and is seen as they should be`, async () => {
        const rows = (["a", "c"] as const).map((place, i) =>
          frontend({ family, address: at(i + 1), protocol, backends: backends(family, place) }),
        );
        await have(...rows);
        const to = (n: number) => ({ ip: at(n), port: 80, protocol });
        expect({
          podToLocal: await ask("b", to(1)),
          podToRemote: await ask("b", to(2)),
          itself: await ask("a", to(1)),
          nodeToLocal: await ask("node", to(1)),
          nodeToRemote: await ask("node", to(2)),
          clientToLocal: await ask("client", to(1)),
          clientToRemote: await ask("client", to(2)),
        }).toEqual({
          podToLocal: `a from ${ip("b")}`,
          podToRemote: `c from ${ip("b")}`,
          itself: `a from ${ip("node")}`,
          nodeToLocal: `a from ${ip("node")}`,
          nodeToRemote: `c from ${TUNNEL[family]}`,
          clientToLocal: `a from ${ip("node")}`,
          clientToRemote: `c from ${TUNNEL[family]}`,
        });
      });

      test(`${protocol}: what is closed answers at once, what drops does not, from everywhere`, async () => {
        await have(
          frontend({ family, address: at(1), protocol, action: "reject" }),
          frontend({ family, address: at(2), protocol, action: "drop" }),
        );
        for (const from of ["a", "node", "client"] as const) {
          const outcomes: string[] = [];
          for (const [n, port] of [
            [1, 80],
            [1, 81],
            [9, 80],
          ] as const)
            outcomes.push(await ask(from, { ip: at(n), port, protocol, timeoutMs: 900 }));
          const dropped = await ask(from, { ip: at(2), port: 80, protocol, timeoutMs: 150 });
          expect({ from, outcomes, dropped }).toEqual({
            from,
            // The kernel tells a sender on the node itself that its datagram was not let out.
            ...(protocol === "udp" && from === "node"
              ? { outcomes: ["EPERM", "EPERM", "EPERM"], dropped: "EPERM" }
              : { outcomes: ["ECONNREFUSED", "ECONNREFUSED", "ECONNREFUSED"], dropped: "timeout" }),
          });
        }
      });
    }
  });
}
