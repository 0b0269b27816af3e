import { expect, test } from "bun:test";
import { FakeClock, silentLogger, WeftError } from "@weft/base";
import type { ApiClient, ApiRequest } from "@weft/cluster/client";
import { makeNamespace } from "./namespace.ts";

/** Answers one after the other; the last one stays. */
function start(answers: readonly (string | undefined)[]) {
  const clock = new FakeClock();
  const stop = new AbortController();
  let asked = 0;
  const client = {
    async request({ method, path }: ApiRequest) {
      expect([method, path]).toEqual(["POST", "/api/v1/namespaces"]);
      const code = answers[Math.min(asked++, answers.length - 1)];
      if (code !== undefined) throw new WeftError(code as "exists", code);
      return {};
    },
  } as unknown as ApiClient;
  const made = makeNamespace("system", { client, clock, logger: silentLogger, signal: stop.signal });
  const pass = async (): Promise<void> => {
    for (let i = 0; i < 100; i++) {
      await Bun.sleep(0);
      clock.advance(1000);
    }
  };
  return { made, pass, stop, asked: () => asked };
}

test.each([
  ["a server that ends again, and comes back", ["unavailable", "timeout", undefined], 3],
  ["one that had heard it before it ended", ["unavailable", "exists"], 2],
])("it is made: %s", async (_, answers, count) => {
  const { made, pass, asked } = start(answers);
  await pass();
  expect(await made).toBe(true);
  expect(asked()).toBe(count);
});

test("it is called off", async () => {
  const { made, pass, stop } = start(["unavailable"]);
  await pass();
  stop.abort();
  expect(await made).toBe(false);
});
