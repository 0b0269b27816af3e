/** Our kinds as the embedded server takes them: what it refuses, what it shows, and a start with what is there already. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { TestApi } from "../server/testing/api.ts";
import { at, items, type Mapping } from "../server/values.ts";
import { DEFINITIONS, registerDefinitions } from "./index.ts";

const POOLS = "/apis/weft.network/v1alpha1/ippools";
const BLOCKS = "/apis/weft.network/v1alpha1/ipblocks";
const DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ippools.weft.network";
const TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io";

let api: TestApi;
const register = (): Promise<void> => registerDefinitions((request) => api.server.handle(request));
beforeEach(async () => {
  api = await TestApi.start();
  await register();
});
afterEach(() => api.remove());

const pool = (spec: Mapping, name = "p"): Mapping => ({
  apiVersion: "weft.network/v1alpha1",
  kind: "IPPool",
  metadata: { name },
  spec,
});
const block = (spec: Mapping): Mapping => ({
  apiVersion: "weft.network/v1alpha1",
  kind: "IPBlock",
  metadata: { name: "10-0-0-0-26" },
  spec: { cidr: "10.0.0.0/26", pool: "p", poolUID: "u", ...spec },
});

test.each<[Mapping, string]>([
  [{}, "spec.cidr: Required value"],
  [{ cidr: "10.0.0.0" }, "spec.cidr in body should match"],
  [{ cidr: 10 }, "spec.cidr in body must be of type string"],
  [{ cidr: "10.0.0.0/16", blockSize: 19 }, "spec.blockSize in body should be greater than or equal to 20"],
  [{ cidr: "10.0.0.0/16", blockSize: 129 }, "spec.blockSize in body should be less than or equal to 128"],
  [{ cidr: "10.0.0.0/16", natOutgoing: "yes" }, "spec.natOutgoing in body must be of type boolean"],
  [
    { cidr: "10.0.0.0/16", nodeSelector: { matchExpressions: [{ key: "a", operator: "Like" }] } },
    'spec.nodeSelector.matchExpressions[0].operator: Unsupported value: "Like": supported values: "In", "NotIn", "Exists", "DoesNotExist"',
  ],
])("a pool with %j is refused", async (spec, wanted) => {
  const { status, body } = await api.post(POOLS, pool(spec));
  expect(status).toBe(422);
  expect(String(body["message"])).toContain(wanted);
});

test.each<[Mapping, string]>([
  [{ cidr: "x" }, "spec.cidr in body should match"],
  [{ pool: "A" }, "spec.pool in body should match"],
  [{ loans: [{ node: "n" }] }, "spec.loans[0].id: Required value"],
  [{ loans: [{ id: "1", node: "n", address: "here" }] }, "spec.loans[0].address in body should match"],
])("a block with %j is refused", async (spec, wanted) => {
  const { status, body } = await api.post(BLOCKS, block(spec));
  expect(status).toBe(422);
  expect(String(body["message"])).toContain(wanted);
});

test("columns of pools and blocks; status is a write of its own", async () => {
  const made = (await api.post(POOLS, pool({ cidr: "10.0.0.0/16" }))).body;
  const status = {
    cidr: "10.0.0.0/16",
    blockSize: 26,
    used: 3,
    free: 61,
    full: "never",
    conditions: [{ type: "Ready", status: "True", reason: "Accepted" }],
  };
  expect((await api.put(`${POOLS}/p/status`, { ...made, status })).status).toBe(200);
  expect(at((await api.get(`${POOLS}/p`)).body, "status", "used")).toBe(3);
  const cells = async (path: string): Promise<readonly unknown[]> => {
    const { body } = await api.get(path, TABLE);
    return items((items(body["rows"])[0] as Mapping)["cells"]);
  };
  expect((await cells(POOLS)).slice(0, -1)).toEqual([
    "p",
    "10.0.0.0/16",
    26,
    3,
    61,
    "True",
    "Accepted",
    "never",
  ]);
  const claimed = (await api.post(BLOCKS, block({ node: "n1" }))).body;
  const used = {
    allocations: [{ address: "10.0.0.2", since: "2026-01-01T00:00:00Z" }],
    used: 1,
    free: 62,
    loans: 0,
  };
  expect((await api.put(`${BLOCKS}/10-0-0-0-26/status`, { ...claimed, status: used })).status).toBe(200);
  expect((await cells(BLOCKS)).slice(0, -1)).toEqual(["10-0-0-0-26", "10.0.0.0/26", "p", "n1", 1, 62, 0]);
  expect((await api.post(BLOCKS, block({ node: "n2" }))).body["reason"]).toBe("AlreadyExists");
});

test("a second start changes nothing; an older definition is brought up to date, objects stay", async () => {
  await api.post(POOLS, pool({ cidr: "10.0.0.0/16" }));
  const before = (await api.get(DEFINITION)).body;
  await register();
  expect((await api.get(DEFINITION)).body.metadata.resourceVersion).toBe(before.metadata.resourceVersion);
  const older = structuredClone(before) as Mapping;
  const [version] = items(at(older, "spec", "versions")) as Mapping[];
  (version as Mapping)["additionalPrinterColumns"] = [];
  expect((await api.put(DEFINITION, older)).status).toBe(200);
  await register();
  expect((await api.get(DEFINITION)).body["spec"]).toEqual(before["spec"]);
  expect((await api.get(`${POOLS}/p`)).status).toBe(200);
  expect(DEFINITIONS.map((d) => d.metadata.name)).toEqual(["ippools.weft.network", "ipblocks.weft.network"]);
});
