import { expect, test } from "bun:test";
import { createLogger } from "@weft/base";
import { type ApiClient, type ApiRequest, createClient } from "@weft/cluster/client";
import type { Problem } from "@weft/model";
import { createAnnouncer, isSpeaker } from "./announcer.ts";

const problem = (key: string, kind: string, name: string): Problem => ({
  key,
  message: `of ${name}`,
  hint: "Do something.",
  origin: { kind, namespace: "shop", name, uid: `u-${name}` },
});

test("of all nodes exactly one speaks for an object, whichever order they are in", () => {
  const nodes = ["n3", "n1", "n2"];
  const origin = { kind: "Service", namespace: "shop", name: "web" };
  expect(nodes.filter((node) => isSpeaker(node, nodes, origin))).toHaveLength(1);
  expect(nodes.filter((node) => isSpeaker(node, nodes, origin))).toEqual(
    nodes.filter((node) => isSpeaker(node, nodes.toReversed(), origin)),
  );
  const speakers = Array.from({ length: 100 }, (_, i) =>
    nodes.find((n) => isSpeaker(n, nodes, { ...origin, name: `s${i}` })),
  );
  expect(new Set(speakers).size).toBe(3);
});

test("what is new is told once, about its object; settings and nodes are nobody's event", async () => {
  const sent: { reason: string; regarding: { kind: string; name: string }; note: string }[] = [];
  const client: ApiClient = {
    ...createClient({ credentials: { server: "http://api.test", read: () => ({}) } as never }),
    request: (async (request: ApiRequest) => {
      sent.push(request.body as never);
      return request.body;
    }) as ApiClient["request"],
  };
  const announcer = createAnnouncer(
    client,
    "n1",
    createLogger(() => {}),
  );
  const conflict = problem("conflict frontend 10.0.0.1 tcp 80 shop/web", "Service", "web");
  announcer.problems([conflict, problem("service node", "Node", "n1")], ["n1"]);
  announcer.problems([conflict, problem("here health 192.0.2.1 31000", "Service", "db")], ["n1"]);
  announcer.problems([problem("fault EndpointSlice shop/x y", "EndpointSlice", "x")], []);
  await announcer.stop();
  expect(sent.map((e) => [e.reason, e.regarding.kind, e.regarding.name, e.note])).toEqual([
    ["AddressTaken", "Service", "web", "of web. Do something."],
    ["HealthCheckFailed", "Service", "db", "of db. Do something."],
    ["PartLeftOut", "EndpointSlice", "x", "of x. Do something."],
  ]);
});
