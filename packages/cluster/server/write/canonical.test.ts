/** Objects in the form in which clients written in Go give them back. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { PODS_PATH, pod, TestApi } from "../testing/api.ts";
import { at, clone, type Mapping, mapping, mappings } from "../values.ts";
import { canonicalQuantity, MILLI, nanoOf } from "./quantity.ts";

let api: TestApi;
beforeAll(async () => {
  api = await TestApi.start();
});
afterAll(() => api.remove());

/** As a manifest has it: zeros, empty lists and mappings are spelled out, quantities are numbers and fractions. */
const written = (name: string): Mapping =>
  pod(
    name,
    {
      hostNetwork: false,
      nodeSelector: {},
      tolerations: [],
      containers: [
        {
          name: "c",
          image: "example/image:1",
          tty: false,
          env: [{ name: "A", value: "" }],
          args: [],
          resources: { limits: { cpu: 2, memory: "0.5Gi" }, requests: { cpu: "0.5", "example.com/x": 0 } },
          volumeMounts: [{ name: "v", mountPath: "/v", readOnly: false }],
        },
      ],
      volumes: [{ name: "v", emptyDir: { sizeLimit: "1.5Gi" } }],
    },
    { labels: {} },
  );

describe("a pod from a manifest", () => {
  test("is kept as Go writes it", async () => {
    const { status, body } = await api.post(PODS_PATH, written("goish"));
    expect(status).toBe(201);
    const spec = mapping(body["spec"]);
    for (const field of ["hostNetwork", "nodeSelector", "tolerations"])
      expect(spec).not.toHaveProperty(field);
    const [container] = mappings(spec["containers"]);
    expect(container).toMatchObject({
      env: [{ name: "A" }],
      resources: {
        limits: { cpu: "2", memory: "512Mi" },
        requests: { cpu: "500m", memory: "512Mi", "example.com/x": "0" },
      },
    });
    for (const field of ["tty", "args"]) expect(container).not.toHaveProperty(field);
    expect(at(container, "volumeMounts")).toEqual([{ name: "v", mountPath: "/v" }]);
    expect(spec["volumes"]).toEqual([{ name: "v", emptyDir: { sizeLimit: "1536Mi" } }]);
  });

  test("may be written back with all of it: that changes nothing", async () => {
    const { body } = await api.post(PODS_PATH, written("same"));
    const again = clone(body);
    again["spec"] = { ...mapping(again["spec"]), ...mapping(written("same")["spec"]) };
    for (const container of mappings(at(again, "spec", "containers"))) {
      Object.assign(container, mappings(at(body, "spec", "containers"))[0], { tty: false, args: [] });
    }
    const answer = await api.put(`${PODS_PATH}/same`, again);
    expect(answer.body.metadata.resourceVersion).toBe(body.metadata.resourceVersion as string);
  });

  test("with what is no quantity is none", async () => {
    const bad = pod("bad", {
      containers: [{ name: "c", image: "i", resources: { limits: { cpu: "much" } } }],
    });
    const { status, body } = await api.post(PODS_PATH, bad);
    expect(status).toBe(400);
    expect(String(body["message"])).toContain("spec.containers[0].resources.limits.cpu");
    expect(String(body["message"])).toContain("quantities must match");
  });
});

test("an empty list that a type always has stays", async () => {
  const slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
  const slice = { metadata: { name: "none" }, addressType: "IPv4", endpoints: [], ports: [] };
  const { body } = await api.post(slices, {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    ...slice,
  });
  expect(body["endpoints"]).toEqual([]);
});

test("a status that is written back empty changes nothing", async () => {
  const path = "/apis/apps/v1/namespaces/default/deployments";
  const { body } = await api.post(path, {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "d" },
    spec: {
      selector: { matchLabels: { a: "b" } },
      template: { metadata: { labels: { a: "b" } }, spec: { containers: [{ name: "c", image: "i" }] } },
    },
  });
  expect(body["status"]).toEqual({});
  const again = await api.put(`${path}/d/status`, { ...body, status: { replicas: 0 } });
  expect(again.body.metadata.resourceVersion).toBe(body.metadata.resourceVersion as string);
});

describe("quantities", () => {
  // What k8s.io/apimachinery/pkg/api/resource makes of them, rounded up to thousandths.
  test.each([
    ["0.5", "500m"],
    ["1000m", "1"],
    ["1.5Gi", "1536Mi"],
    ["1024Mi", "1Gi"],
    ["0.5Ki", "512"],
    ["0.1Mi", "104857600m"],
    ["1023Ki", "1023Ki"],
    ["12e2", "1200"],
    ["1e-3", "1e-3"],
    ["1e6", "1e6"],
    ["-0.5Ki", "-512"],
    ["0.1m", "1m"],
    ["1Ei", "1Ei"],
    ["1E", "1E"],
    [".5", "500m"],
    ["0Ki", "0"],
  ])("%s is %s", (text, form) => {
    expect(canonicalQuantity(text, MILLI)).toBe(form);
  });

  test.each(["", "x", "1 ", "1K", "1KiB", "--1", "1.5.2", ".", "0x10", "1e", "NaN", "Infinity"])(
    "%j is none",
    (text) => {
      expect(canonicalQuantity(text)).toBeUndefined();
    },
  );

  test("keep their value, and their form once they have it", () => {
    const suffix = fc.constantFrom(
      "",
      "n",
      "u",
      "m",
      "k",
      "M",
      "G",
      "T",
      "Ki",
      "Mi",
      "Gi",
      "e3",
      "e-3",
      "E2",
    );
    const number = fc.stringMatching(/^-?\d{1,12}(\.\d{1,6})?$/);
    fc.assert(
      fc.property(number, suffix, (digits, unit) => {
        const form = canonicalQuantity(digits + unit) as string;
        expect(nanoOf(form)).toBe(nanoOf(digits + unit) as bigint);
        expect(canonicalQuantity(form)).toBe(form);
      }),
    );
  });
});
