import { expect, test } from "bun:test";
import { backoffDelay } from "./backoff.ts";

const at = { first: 100, cap: 1500 };

test("doubles up to the cap, however many failures there were", () => {
  expect([1, 2, 3, 4, 5, 6, 100, 1e9].map((n) => backoffDelay(n, at))).toEqual([
    100, 200, 400, 800, 1500, 1500, 1500, 1500,
  ]);
});

test("chance takes off up to half", () => {
  expect([0, 0.5, 1].map((r) => backoffDelay(3, at, () => r))).toEqual([200, 300, 400]);
});
