import { describe, expect, test } from "bun:test";
import { FakeClock } from "@weft/base";
import fc from "fast-check";
import { type LeaderElectionOptions, runLeaderElection } from "./index.ts";
import { FakeApi, failure } from "./testing/fake-api.ts";
import { directClient, rejection, settle } from "./testing/setup.ts";

const COLLECTION = "/apis/coordination.k8s.io/v1/leases";

/** Contenders of one election, whose clocks run together but show different times. */
function election(skews: readonly number[], options: Partial<LeaderElectionOptions> = {}) {
  const api = new FakeApi();
  const clock = new FakeClock();
  const log: string[] = [];
  const leading = new Set<string>();
  const contenders = skews.map((skew, i) => {
    const identity = `c${i}`;
    const own = {
      now: () => clock.now() + skew,
      monotonic: () => clock.monotonic(),
      setTimeout: (fn: () => void, ms: number) => clock.setTimeout(fn, ms),
    };
    const stopping = new AbortController();
    const contender = {
      identity,
      cut: false,
      answerDelay: 0,
      stop: () => stopping.abort(),
      end: Promise.resolve(),
    };
    const client = directClient(api, {
      clock: own,
      retries: 0,
      fetch: async (url, init) => {
        if (contender.cut) throw Object.assign(new Error("no route"), { code: "EHOSTUNREACH" });
        const answer = await api.handle(new Request(url, { ...init, signal: null }));
        const delay = init.method === "GET" ? 0 : contender.answerDelay;
        if (delay > 0) await new Promise<void>((resolve) => clock.setTimeout(resolve, delay));
        return answer;
      },
    });
    contender.end = runLeaderElection({
      client,
      namespace: "weft-system",
      name: "controller",
      identity,
      signal: stopping.signal,
      clock: own,
      random: () => i / 10,
      onStart(signal) {
        leading.add(identity);
        log.push(`+${identity}`);
        return new Promise((resolve) => {
          signal.addEventListener("abort", () => {
            leading.delete(identity);
            log.push(`-${identity}`);
            resolve();
          });
        });
      },
      ...options,
    });
    return contender;
  });
  const pass = async (seconds: number): Promise<void> => {
    for (let i = 0; i < seconds * 2; i++) {
      clock.advance(500);
      await settle();
      expect(leading.size).toBeLessThanOrEqual(1);
    }
  };
  const stop = async (): Promise<void> => {
    for (const { stop } of contenders) stop();
    await Promise.all(contenders.map(({ end }) => end));
  };
  const lease = () => api.objects(COLLECTION)[0]!["spec"] as Record<string, unknown>;
  return { api, clock, log, leading, contenders, pass, stop, lease };
}

const DAY = 86_400_000;

describe("an election of three", () => {
  test("one leads, stays, and hands over at once when it gives up", async () => {
    const seen: string[] = [];
    const { log, leading, contenders, pass, stop, lease } = election([0, DAY, -DAY], {
      onNewLeader: (identity) => seen.push(identity),
    });
    await settle();
    expect([...leading]).toEqual(["c0"]);
    await pass(60);
    expect(log).toEqual(["+c0"]);
    expect(seen).toEqual(["c0", "c0", "c0"]);
    expect(lease()).toMatchObject({ holderIdentity: "c0", leaseDurationSeconds: 15, leaseTransitions: 0 });
    contenders[0]!.stop();
    await contenders[0]!.end;
    expect(lease()).toMatchObject({ holderIdentity: "" });
    await pass(3);
    expect(log).toHaveLength(3);
    expect(log.slice(0, 2)).toEqual(["+c0", "-c0"]);
    expect(lease()).toMatchObject({ leaseTransitions: 1 });
    await stop();
    expect(leading.size).toBe(0);
  });

  test("a leader that is cut off stops before the next one begins", async () => {
    const { log, leading, contenders, pass, stop, clock } = election([0, DAY, -DAY]);
    await settle();
    contenders[0]!.cut = true;
    const from = clock.now();
    while (leading.size > 0) await pass(0.5);
    expect(clock.now() - from).toBeLessThanOrEqual(10_000);
    await pass(15);
    expect(log[1]).toBe("-c0");
    expect(log[2]).toMatch(/^\+c[12]$/);
    contenders[0]!.cut = false;
    await pass(60);
    expect(log).toHaveLength(3);
    await stop();
  });

  test("time that an answer took on its way is no time to lead", async () => {
    const { log, contenders, pass, stop } = election([0, 0, 0]);
    const [first, second] = contenders;
    first!.answerDelay = 9500;
    await settle();
    await pass(9.5);
    expect(log).toEqual(["+c0"]);
    // The others have seen the lease since it was written, 9.5 s ago.
    first!.cut = true;
    await pass(0.5);
    expect(log).toEqual(["+c0", "-c0"]);
    second!.stop();
    await pass(10);
    expect(log).toEqual(["+c0", "-c0", "+c2"]);
    await stop();
  });

  test("a leader that is stolen from stops at its next try", async () => {
    const { api, log, pass, stop } = election([0]);
    await settle();
    const spec = {
      holderIdentity: "thief",
      leaseDurationSeconds: 15,
      renewTime: "2020-01-01T00:00:00.000000Z",
    };
    api.put(COLLECTION, { metadata: { name: "controller", namespace: "weft-system" }, spec });
    await pass(5);
    expect(log).toEqual(["+c0", "-c0"]);
    // The thief does nothing more: however old its time looks, the lease is its own until 15 s are over.
    await pass(8);
    expect(log).toHaveLength(2);
    await pass(10);
    expect(log).toEqual(["+c0", "-c0", "+c0"]);
    await stop();
  });

  test("a leader whose work fails gives up, and another one leads", async () => {
    const log: string[] = [];
    let works = 0;
    const { pass, stop, lease } = election([0, DAY], {
      async onStart(signal) {
        log.push(String(lease()["holderIdentity"]));
        if (++works < 3) throw new Error("it cannot be begun");
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      },
    });
    await pass(30);
    // Never in a row without a pause: whoever failed lets the other one try.
    expect(log).toEqual(["c0", "c1", "c0"]);
    expect(lease()["holderIdentity"]).toBe("c0");
    await stop();
  });

  test("the next campaign waits for work that is slow to end", async () => {
    let finish = (): void => {};
    let starts = 0;
    const { api, pass, stop, contenders } = election([0], {
      onStart: () => {
        starts++;
        return new Promise((resolve) => {
          finish = resolve;
        });
      },
    });
    await settle();
    contenders[0]!.cut = true;
    await pass(20);
    contenders[0]!.cut = false;
    await pass(60);
    expect(starts).toBe(1);
    finish();
    await pass(20);
    expect([starts, api.objects(COLLECTION).length]).toEqual([2, 1]);
    const end = stop();
    await settle();
    finish();
    await end;
  });

  test("a server that fails now and then changes nothing", async () => {
    const { api, log, pass, stop } = election([0, 0, 0]);
    await settle();
    let n = 0;
    api.intercept = () => (n++ % 2 === 0 ? failure(500, "InternalError", "no") : undefined);
    await pass(60);
    expect(log).toEqual(["+c0"]);
    await stop();
  });
});

test("whatever is cut off and comes back, there is never more than one, and at last there is one", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(2), fc.boolean(), fc.integer({ min: 1, max: 20 })), { maxLength: 8 }),
      fc.array(fc.integer({ min: -DAY, max: DAY }), { minLength: 3, maxLength: 3 }),
      async (steps, skews) => {
        const { contenders, leading, pass, stop } = election(skews);
        for (const [who, cut, seconds] of steps) {
          contenders[who]!.cut = cut;
          await pass(seconds);
        }
        for (const contender of contenders) contender.cut = false;
        await pass(30);
        expect(leading.size).toBe(1);
        await stop();
      },
    ),
    { numRuns: 12 },
  );
}, 120_000);

test("times that cannot work are refused", async () => {
  const { contenders } = election([0], { renewDeadline: 20_000 });
  expect(String(await rejection(contenders[0]!.end))).toContain("cannot work");
});
