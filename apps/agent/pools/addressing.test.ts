/** From where a pod gets its addresses that the watch has not told of. */
import { expect, test } from "bun:test";
import { type ErrorCode, WeftError } from "@weft/base";
import type { PodAsks } from "@weft/cluster/client";
import type { PoolView } from "@weft/ipam";
import type { PodAddressing } from "@weft/model";
import { KnownPods } from "../known-pods.ts";
import { addressingOf } from "./addressing.ts";

const from = (...pools: string[]): PodAddressing => ({ pools: { 4: pools }, wanted: [], problem: undefined });
const VIEW: PoolView = {
  pools: [],
  usable: [],
  blocks: [],
  otherwise: from("all"),
  byNamespace: { shop: from("web") },
  current: true,
  enabled: true,
};

function ask(
  podNamespace: string,
  read: () => Promise<PodAsks | undefined>,
  { current = true, signal = new AbortController().signal } = {},
): Promise<PodAddressing> {
  const pods = new KnownPods();
  pods.take([], current);
  const place = { podNamespace, podName: "p", podUid: "u" };
  return addressingOf(place, { pods, view: () => VIEW, read }, signal);
}

const failing = (code: ErrorCode) => async (): Promise<never> => {
  throw new WeftError(code, "the API server");
};
const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error) => error.code,
  );

test("a server that hangs or refuses, and of which the watches do not know it yet, counts as away", async () => {
  for (const code of ["timeout", "unavailable"] as const) {
    expect(await ask("shop", failing(code))).toEqual(from("web"));
    expect(await ask("other", failing(code))).toEqual(from("all"));
  }
  expect(await ask("shop", failing("internal"), { current: false })).toEqual(from("web"));
});

test("what it answers counts: no such pod, not allowed; and a request that was given up is given up", async () => {
  expect(await codeOf(ask("shop", async () => undefined))).toBe("busy");
  expect(await codeOf(ask("shop", failing("permission")))).toBe("permission");
  const gone = new AbortController();
  const read = async (): Promise<never> => {
    gone.abort(new WeftError("timeout", "the client went away"));
    throw gone.signal.reason;
  };
  expect(await codeOf(ask("shop", read, { signal: gone.signal }))).toBe("timeout");
});
