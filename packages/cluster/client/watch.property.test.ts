import { test } from "bun:test";
import fc from "fast-check";
import { FakeApi, failure } from "./testing/fake-api.ts";
import type { StreamFault } from "./testing/fake-watcher.ts";
import { PATH, pod, watched } from "./testing/watched.ts";

const faults: (StreamFault | undefined)[] = [
  undefined,
  undefined,
  undefined,
  "duplicate",
  "stale",
  "stale",
  "swap",
  "swap",
  "split",
  "cut",
  "end",
  "expired",
  "failed",
  "garbage",
  "silence",
];
const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({ do: fc.constant("put" as const), name: fc.nat(5), value: fc.nat(3) }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("delete" as const), name: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("disconnect" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("compact" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("bookmark" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("break" as const), how: fc.nat(4) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("pause" as const), ms: fc.nat(6) }) },
);

test("after any changes and faults, once faults stop, the rows are the server's", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 40 }),
      fc.array(fc.constantFrom(...faults), { minLength: 1, maxLength: 60 }),
      async (steps, script) => {
        const stops: (() => unknown)[] = [];
        const api = new FakeApi();
        api.put(PATH, pod("p0", "first"));
        let at = 0;
        api.streamFault = () => script[at++ % script.length];
        const { text, untilEqual } = await watched(api, stops, { idleLimit: 30, pageSize: 2 });
        for (const s of steps) {
          if (s.do === "put") api.put(PATH, pod(`p${s.name}`, s.value));
          else if (s.do === "delete") api.delete(PATH, `p${s.name}`, "default");
          else if (s.do === "disconnect") api.disconnect();
          else if (s.do === "compact") api.compact();
          else if (s.do === "bookmark") api.bookmark();
          else if (s.do === "pause") await Bun.sleep(s.ms);
          else {
            const code = [410, 429, 500, 503, 403][s.how] as number;
            let left = 2;
            api.intercept = () => (left-- > 0 ? failure(code, "", "broken by the test") : undefined);
          }
        }
        api.streamFault = () => undefined;
        api.intercept = () => undefined;
        // What was held back comes now, as a real server would send it.
        api.bookmark();
        await untilEqual();
        // And it goes on being so.
        api.put(PATH, pod("last", text()));
        await untilEqual();
        for (const stop of stops.reverse()) await stop();
      },
    ),
    { numRuns: 100 },
  );
}, 120_000);
