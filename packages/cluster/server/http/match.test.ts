import { afterAll, beforeAll, expect, test } from "bun:test";
import { MAPS, TestApi } from "../testing/api.ts";

let api: TestApi;
beforeAll(async () => {
  api = await TestApi.start();
});
afterAll(() => api.remove());

test.each([
  ["resourceVersionMatch=Exact", "forbidden unless resourceVersion is provided"],
  ["resourceVersion=1&resourceVersionMatch=Newest", 'supported values: "Exact", "NotOlderThan"'],
  ["resourceVersion=0&resourceVersionMatch=Exact", 'forbidden for resourceVersion "0"'],
  ["resourceVersion=1&resourceVersionMatch=Exact&continue=x", "forbidden for continue"],
  ["sendInitialEvents=true", "forbidden for list"],
  ["watch=true&resourceVersionMatch=Exact", "forbidden for watch unless sendInitialEvents"],
  ["watch=true&sendInitialEvents=true", "requires setting resourceVersionMatch to NotOlderThan"],
  ["watch=true&sendInitialEvents=maybe&resourceVersionMatch=NotOlderThan", "must be true or false"],
  ["watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", "allowWatchBookmarks"],
])("%s contradicts itself", async (query, message) => {
  const { body } = await api.get(`${MAPS}?${query}`);
  expect(body).toMatchObject({ code: 422, reason: "Invalid", details: { kind: "ListOptions" } });
  expect(String(body["message"])).toContain(message);
});

test.each([
  "resourceVersion=0&resourceVersionMatch=NotOlderThan",
  "resourceVersion=1&resourceVersionMatch=NotOlderThan",
])("%s is a list", async (query) => {
  expect((await api.get(`${MAPS}?${query}`)).status).toBe(200);
});
