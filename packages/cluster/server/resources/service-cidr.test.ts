import { afterEach, beforeEach, expect, test } from "bun:test";
import { TestApi } from "../testing/api.ts";
import { at } from "../values.ts";

const RANGES = "/apis/networking.k8s.io/v1/servicecidrs";
const CIDRS = ["10.96.0.0/24", "fd00:96::/112"];
const object = (name: string, cidrs: readonly string[]) => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "ServiceCIDR",
  metadata: { name },
  spec: { cidrs },
});

let api: TestApi;
beforeEach(async () => {
  api = await TestApi.start({ services: { ranges: CIDRS, nodePorts: [30000, 30004] } });
});
afterEach(() => api.remove());

test("there is one, and it says what the server was started with", async () => {
  const { body } = await api.get(`${RANGES}/kubernetes`);
  expect(at(body, "spec", "cidrs")).toEqual(CIDRS);
  expect(at(body, "status", "conditions")).toMatchObject([{ type: "Ready", status: "True" }]);
});

test("nobody changes or removes it, nor makes another", async () => {
  expect((await api.post(RANGES, object("more", ["10.97.0.0/24"]))).status).toBe(403);
  expect((await api.post(RANGES, object("more", CIDRS))).status).toBe(403);
  expect((await api.put(`${RANGES}/kubernetes`, object("kubernetes", ["10.0.0.0/8"]))).status).toBe(403);
  const refused = await api.delete(`${RANGES}/kubernetes`);
  expect(refused.status).toBe(403);
  expect((await api.delete(RANGES)).status).toBe(405);
  const { body } = await api.get(`${RANGES}/kubernetes`);
  expect(at(body, "spec", "cidrs")).toEqual(CIDRS);
});

test("labels are its users'", async () => {
  const labels = { team: "net" };
  const wanted = { ...object("kubernetes", CIDRS), metadata: { name: "kubernetes", labels } };
  const { status, body } = await api.put(`${RANGES}/kubernetes`, wanted);
  expect([status, body.metadata.labels]).toEqual([200, labels]);
});

test("a server that is started with other ranges says so, and with the same ones writes nothing", async () => {
  const before = await api.get(`${RANGES}/kubernetes`);
  await api.stop();
  await api.start();
  const same = await api.get(`${RANGES}/kubernetes`);
  expect(same.body).toEqual(before.body);
  await api.stop();
  await api.start({ services: { ranges: ["10.98.0.0/24"], nodePorts: [30000, 30004] } });
  const other = await api.get(`${RANGES}/kubernetes`);
  expect(at(other.body, "spec", "cidrs")).toEqual(["10.98.0.0/24"]);
  expect(other.body.metadata.uid).toBe(before.body.metadata.uid);
});
