import { afterEach, describe, expect, test } from "bun:test";
import { statSync } from "node:fs";
import { FakeClock } from "@weft/base";
import type { Workload } from "@weft/model";
import { type KnownPod, KnownPods } from "../known-pods.ts";
import { TestNamespace } from "../testing/namespaces.ts";
import { workload } from "../testing/workload.ts";
import { Orphans } from "./orphans.ts";
import type { Sight } from "./sight.ts";

const pod = (name: string, uid: string, runtimeUid?: string): KnownPod => ({
  namespace: "shop",
  name,
  uid,
  ...(runtimeUid !== undefined && { runtimeUid }),
});

describe("known pods", () => {
  test("a static pod has the uid of its mirror, any other its own", () => {
    const known = new KnownPods();
    known.take([pod("fixed-a", "uid-mirror", "hash"), pod("web", "uid-web")], true);
    expect(known.named(workload("c", "", { podName: "fixed-a", podUid: "hash" })).podUid).toBe("uid-mirror");
    const own = workload("c", "");
    expect(known.named(own)).toBe(own);
    const stranger = workload("c", "", { podUid: "uid-other" });
    expect(known.named(stranger)).toBe(stranger);
  });

  test("gone is only what the API does not have while it answers", () => {
    const known = new KnownPods();
    expect(known.isGone(workload("c", ""))).toBe(false);
    known.take([pod("fixed-a", "uid-mirror", "hash")], true);
    expect(known.isGone(workload("c", ""))).toBe(true);
    expect(known.isGone(workload("c", "", { podUid: "hash" }))).toBe(false);
    expect(known.isGone(workload("c", "", { podUid: "uid-mirror" }))).toBe(false);
    // Of the same name, but another pod.
    expect(known.isGone(workload("c", "", { podName: "fixed-a", podUid: "uid-former" }))).toBe(true);
    expect(known.isGone(workload("c", "", { podName: "fixed-a", podUid: undefined }))).toBe(false);
    expect(known.isGone(workload("c", "", { podName: "other", podUid: undefined }))).toBe(true);
    // No pod of Kubernetes: nobody could tell.
    expect(known.isGone(workload("c", "", { podName: undefined, podUid: undefined }))).toBe(false);
    known.take([], false);
    expect(known.isGone(workload("c", ""))).toBe(false);
  });
});

describe("orphans", () => {
  const stops: (() => unknown)[] = [];
  afterEach(async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
  });

  function setUp(pods: readonly KnownPod[] = []) {
    const clock = new FakeClock();
    const known = new KnownPods();
    known.take(pods, true);
    const space = new TestNamespace("o");
    stops.push(() => space.remove());
    let sees = true;
    const grace = { ms: 60_000 };
    let wall = 0;
    const orphans = new Orphans({
      pods: known,
      clock: {
        now: () => clock.now() + wall,
        monotonic: () => clock.monotonic(),
        setTimeout: (fn, ms) => clock.setTimeout(fn, ms),
      },
      look: () => (sees ? inSight : undefined),
      grace: () => grace.ms,
    });
    const ids = (...of: Workload[]): string[] => [...orphans.among(of).keys()];
    return {
      clock,
      known,
      space,
      orphans,
      ids,
      grace,
      jump: (ms: number) => (wall += ms),
      blind: () => (sees = false),
    };
  }

  /** Processes of this test can be looked at, whatever else there is. */
  const inSight: Sight = {
    lives: ({ namespacePath }) => {
      const { ino } = statSync(namespacePath);
      return [...new Bun.Glob("[0-9]*").scanSync({ cwd: "/proc", onlyFiles: false })].some((pid) => {
        try {
          return statSync(`/proc/${pid}/ns/net`).ino === ino;
        } catch {
          return false;
        }
      });
    },
  };

  test("what has no pod and no process for a minute", () => {
    const { clock, ids, space } = setUp();
    const w = workload("a", space.path);
    expect(ids(w)).toEqual([]);
    clock.advance(59_999);
    expect(ids(w)).toEqual([]);
    clock.advance(1);
    expect(ids(w)).toEqual(["a/eth0"]);
  });

  test("a pod that was deleted by force and runs on keeps its address, until it ends", async () => {
    const { clock, ids, space } = setUp();
    const w = workload("a", space.path);
    const sleeper = Bun.spawn(["nsenter", `--net=${space.path}`, "sleep", "600"]);
    stops.push(() => sleeper.kill("SIGKILL"));
    const inside = (): boolean =>
      statSync(`/proc/${sleeper.pid}/ns/net`, { throwIfNoEntry: false })?.ino === statSync(space.path).ino;
    while (!inside()) await Bun.sleep(5);
    for (let minute = 0; minute < 5; minute++) {
      expect(ids(w)).toEqual([]);
      clock.advance(60_000);
    }
    sleeper.kill("SIGKILL");
    await sleeper.exited;
    expect(ids(w)).toEqual(["a/eth0"]);
  });

  test("a pod that the API has, or has again, is none; nor is any while the API is away or nothing can be seen", () => {
    const { clock, ids, space, known, blind } = setUp([pod("web", "uid-web")]);
    const w = workload("a", space.path);
    const minute = (): string[] => {
      ids(w);
      clock.advance(60_000);
      return ids(w);
    };
    expect(minute()).toEqual([]);
    known.take([], false);
    expect(minute()).toEqual([]);
    known.take([], true);
    ids(w);
    clock.advance(50_000);
    known.take([pod("web", "uid-web")], true);
    expect(ids(w)).toEqual([]);
    known.take([], true);
    ids(w);
    clock.advance(10_000);
    expect(ids(w)).toEqual([]);
    blind();
    expect(minute()).toEqual([]);
    expect(minute()).toEqual([]);
  });

  test("a pod's sandbox that keeps the next one of the pod from its host ports, when nothing runs in it", () => {
    const { clock, ids, space, orphans } = setUp([pod("web", "uid-web")]);
    const w = workload("a", space.path);
    expect(ids(w)).toEqual([]);
    clock.advance(60_000);
    expect(ids(w)).toEqual([]);
    orphans.supersede("a/eth0");
    expect(ids(w)).toEqual([]);
    clock.advance(60_000);
    expect(ids(w)).toEqual(["a/eth0"]);
    // Gone, and made anew: nothing of this is kept.
    ids();
    ids(w);
    clock.advance(60_000);
    expect(ids(w)).toEqual([]);
  });

  test("of a pod's two sandboxes the older one, when nothing runs in it", () => {
    const { clock, ids, space } = setUp([pod("web", "uid-web")]);
    const other = new TestNamespace("o");
    stops.push(() => other.remove());
    const [former, now] = [workload("a", space.path), workload("b", other.path, { since: 2 })];
    const second = workload("b", other.path, { id: "b/net1", interface: "net1", since: 3 });
    expect(ids(former, second)).toEqual([]);
    clock.advance(60_000);
    expect(ids(former, second)).toEqual([]);
    ids(former, now, second);
    clock.advance(60_000);
    expect(ids(former, now, second)).toEqual(["a/eth0"]);
  });

  test("the grace is that of the settings, also of one that changed meanwhile", () => {
    const { clock, ids, space, grace } = setUp();
    const w = workload("a", space.path);
    grace.ms = 600_000;
    ids(w);
    clock.advance(599_999);
    expect(ids(w)).toEqual([]);
    grace.ms = 10_000;
    expect(ids(w)).toEqual(["a/eth0"]);
  });

  test("suspects say since when, for how long yet, and what was seen", () => {
    const { clock, ids, space, orphans, blind } = setUp();
    const w = workload("a", space.path);
    ids(w);
    const since = clock.now();
    clock.advance(20_000);
    expect(orphans.suspects()).toEqual([
      { id: "a/eth0", code: "pod-gone", since, left: 40_000, seen: "nothing yet" },
    ]);
    blind();
    clock.advance(40_000);
    expect(ids(w)).toEqual([]);
    clock.advance(10_000);
    expect(orphans.suspects()).toEqual([
      { id: "a/eth0", code: "pod-gone", since, left: 50_000, seen: "cannot see" },
    ]);
    ids();
    expect(orphans.suspects()).toEqual([]);
  });

  test("a clock of the wall that jumps makes nobody an orphan, nor keeps anybody from it", () => {
    const { ids, space, jump, clock } = setUp();
    const w = workload("a", space.path);
    ids(w);
    jump(86_400_000);
    expect(ids(w)).toEqual([]);
    jump(-172_800_000);
    clock.advance(59_999);
    expect(ids(w)).toEqual([]);
    clock.advance(1);
    expect(ids(w)).toEqual(["a/eth0"]);
  });

  test("an agent that starts anew gives the whole grace again", () => {
    const { clock, ids, space, known } = setUp();
    const w = workload("a", space.path);
    ids(w);
    clock.advance(59_999);
    const anew = new Orphans({ pods: known, clock, look: () => inSight });
    expect([...anew.among([w])]).toEqual([]);
    clock.advance(1);
    expect([...anew.among([w])]).toEqual([]);
    clock.advance(59_999);
    expect([...anew.among([w])]).toEqual([["a/eth0", "pod-gone"]]);
  });
});
