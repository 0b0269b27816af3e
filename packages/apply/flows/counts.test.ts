import { expect, test } from "bun:test";
import type { IpAddress } from "@weft/base";
import { FakeConntrack } from "@weft/kernel/fake";
import { FLOW_STATUS, TCP_FLOW_STATE } from "@weft/kernel/port";
import { servicePlanKey } from "@weft/model";
import { countFlows } from "./counts.ts";
import { backend, context, row } from "./testing.ts";

const A = "10.244.0.1:5353";
const B = "10.244.0.2:5353";

test("flows of each backend, by row", async () => {
  const conntrack = new FakeConntrack("self");
  let port = 0;
  const add = (source: string, to: string, via: string | undefined, tcpState?: number): void => {
    port++;
    const [original, reply] = [backend(to), backend(via ?? to)];
    conntrack.add({
      family: 4,
      protocol: 17,
      original: {
        source: source as IpAddress,
        sourcePort: port,
        destination: original.ip,
        destinationPort: original.port,
        icmp: undefined,
      },
      reply: {
        source: reply.ip,
        sourcePort: reply.port,
        destination: source as IpAddress,
        destinationPort: port,
        icmp: undefined,
      },
      status: via === undefined ? 0 : FLOW_STATUS.destinationNat,
      timeout: 1,
      tcpState,
      mark: 0,
      zone: 0,
      packets: undefined,
      bytes: undefined,
    });
  };
  const [inside, outside] = ["10.244.0.9", "203.0.113.1"];
  for (const source of [inside, inside, outside]) add(source, "10.96.0.10:53", A);
  add(outside, "10.96.0.10:53", B);
  add(outside, "10.96.0.10:53", undefined);
  add(outside, "10.96.0.10:53", "10.244.9.9:5353");
  for (const ip of ["192.0.2.1", "192.0.2.2"]) add(outside, `${ip}:30053`, B);
  add(inside, "192.0.2.1:30053", B);
  add(inside, "192.0.2.1:30053", B, TCP_FLOW_STATE.timeWait);

  const cluster = row([A, B]);
  const none = row([], { address: "10.96.0.99" });
  const local = row([B], { address: "node", port: 30053, scope: "outside" });
  const all = row([A, B], { address: "node", port: 30053 });
  const rows = [cluster, none, local, all];
  const counts = await countFlows(
    conntrack,
    rows,
    (match) => ({ any: undefined, outside: match.port === 30053 ? local : undefined }),
    context(),
  );
  expect([...counts]).toEqual([
    [servicePlanKey(cluster), [3, 1]],
    [servicePlanKey(none), []],
    [servicePlanKey(local), [2]],
    [servicePlanKey(all), [0, 1]],
  ]);
  expect(await countFlows(conntrack, [], () => ({ any: undefined, outside: undefined }), context())).toEqual(
    new Map(),
  );
});
