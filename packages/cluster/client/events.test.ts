import { expect, test } from "bun:test";
import { FakeClock } from "@weft/base";
import { createEventRecorder, type EventInput } from "./index.ts";
import { FakeApi, failure } from "./testing/fake-api.ts";
import { directClient, settle } from "./testing/setup.ts";

const COLLECTION = "/apis/events.k8s.io/v1/events";

function setup() {
  const api = new FakeApi();
  const clock = new FakeClock(Date.parse("2026-01-01T00:00:00Z"));
  const client = directClient(api, { clock, retries: 0 });
  const recorder = createEventRecorder({
    client,
    controller: "weft.network/agent",
    instance: "node-a",
    clock,
  });
  const tick = async (ms: number) => {
    clock.advance(ms);
    await settle();
  };
  return { api, clock, recorder, tick, events: () => api.objects(COLLECTION) };
}

const event = (more: Partial<EventInput> = {}): EventInput => ({
  regarding: { apiVersion: "v1", kind: "Pod", namespace: "shop", name: "web", uid: "u1" },
  type: "Warning",
  reason: "AddressesExhausted",
  action: "Allocating",
  note: "no address is left in 10.244.1.0/24",
  ...more,
});

test("what an event has to do with besides is told, and tells repetitions from others", async () => {
  const { recorder, events, tick } = setup();
  const node = { apiVersion: "v1", kind: "Node", name: "n" };
  for (const name of ["a", "b", "a"])
    recorder.record(
      event({ regarding: node, related: { apiVersion: "v1", kind: "Pod", namespace: "shop", name } }),
    );
  await tick(0);
  expect(
    events()
      .map((e) => (e["related"] as { name: string }).name)
      .sort(),
  ).toEqual(["a", "b"]);
});

test("an event has all that the API demands", async () => {
  const { recorder, events, tick } = setup();
  recorder.record(event());
  await tick(0);
  expect(events()).toEqual([
    {
      apiVersion: "events.k8s.io/v1",
      kind: "Event",
      metadata: expect.objectContaining({
        namespace: "shop",
        name: expect.stringMatching(/^web\.[0-9a-f]{16}$/),
      }),
      eventTime: "2026-01-01T00:00:00.000000Z",
      reportingController: "weft.network/agent",
      reportingInstance: "node-a",
      action: "Allocating",
      reason: "AddressesExhausted",
      regarding: event().regarding,
      note: "no address is left in 10.244.1.0/24",
      type: "Warning",
    },
  ]);
  recorder.record(
    event({ regarding: { apiVersion: "v1", kind: "Node", name: "n" }, note: "ä".repeat(2000) }),
  );
  await tick(0);
  const cluster = events().find(({ metadata }) => metadata.namespace === "default");
  expect(Buffer.byteLength(String(cluster!["note"]))).toBeLessThanOrEqual(1024);
  expect(String(cluster!["note"])).toMatch(/^ä+\.\.\.$/);
});

test("repetitions are one series, written now and then; after ten quiet minutes there is a new one", async () => {
  const { api, recorder, events, tick } = setup();
  for (let i = 0; i < 5; i++) {
    recorder.record(event({ note: `try ${i}` }));
    await tick(100);
  }
  const writes = api.calls.length;
  expect(writes).toBe(2);
  for (let i = 0; i < 100; i++) {
    recorder.record(event());
    await tick(100);
  }
  expect(api.calls.length).toBe(writes);
  await tick(30_000);
  expect(api.calls.length).toBe(writes + 1);
  expect(events()).toHaveLength(1);
  expect(events()[0]!["series"]).toEqual({ count: 105, lastObservedTime: "2026-01-01T00:00:10.400000Z" });
  await tick(10 * 60_000);
  recorder.record(event());
  await tick(0);
  expect(events()).toHaveLength(2);
  expect(recorder.dropped).toBe(0);
});

test("one object cannot fill the store", async () => {
  const { recorder, events, tick } = setup();
  for (let i = 0; i < 100; i++) recorder.record(event({ reason: `R${i}` }));
  recorder.record(event({ regarding: { apiVersion: "v1", kind: "Pod", namespace: "shop", name: "other" } }));
  await tick(0);
  expect(events()).toHaveLength(26);
  expect(recorder.dropped).toBe(75);
  await tick(5 * 60_000);
  recorder.record(event({ reason: "Later" }));
  await tick(0);
  expect(events()).toHaveLength(27);
});

test("a server that is away holds nobody up, and an event it never took begins anew", async () => {
  const { api, recorder, events, tick } = setup();
  api.intercept = () => failure(500, "InternalError", "no");
  recorder.record(event());
  await tick(0);
  expect(recorder.dropped).toBe(1);
  api.intercept = () => undefined;
  recorder.record(event());
  await tick(0);
  expect(events()).toHaveLength(1);
});

test("stop writes what is left, and does not wait for ever", async () => {
  const { recorder, events, tick } = setup();
  for (let i = 0; i < 3; i++) {
    recorder.record(event());
    await tick(0);
  }
  await recorder.stop();
  expect(events()[0]!["series"]).toMatchObject({ count: 3 });
  recorder.record(event());
  expect(recorder.dropped).toBe(1);

  const hanging = setup();
  hanging.api.intercept = () => new Promise<Response>(() => {});
  hanging.recorder.record(event());
  hanging.recorder.record(event({ reason: "Other" }));
  const stopped = hanging.recorder.stop();
  await hanging.tick(5000);
  await stopped;
  expect(hanging.recorder.dropped).toBe(2);
});
