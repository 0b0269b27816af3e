/** Deployments against the real API server; and one step at a time, in tables. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { reconcileDeployment } from "./deployment.ts";
import type { DeploymentObject, ReplicaSetObject } from "./objects.ts";
import { margins, proportional, rollingStep } from "./rolling.ts";
import { sameTemplate, templateHash } from "./template.ts";
import { startCluster, type TestCluster } from "./testing/cluster.ts";
import { deployment, NOW, replicaSet } from "./testing/objects.ts";

const set = (name: string, replicas: number, available = replicas, max?: number): ReplicaSetObject => ({
  ...replicaSet(name, { replicas }),
  status: { replicas, availableReplicas: available, readyReplicas: available },
  ...(max === undefined
    ? {}
    : {
        metadata: {
          ...replicaSet(name).metadata,
          annotations: { "deployment.kubernetes.io/max-replicas": String(max) },
        },
      }),
});
const rolling = (replicas: number, maxSurge: number | string, maxUnavailable: number | string) =>
  deployment({ replicas, strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge, maxUnavailable } } });

describe("counts", () => {
  test.each([
    [10, "25%", "25%", { surge: 3, unavailable: 2 }],
    [4, 0, 1, { surge: 0, unavailable: 1 }],
    [1, "25%", "25%", { surge: 1, unavailable: 0 }],
    [1, 0, "1%", { surge: 0, unavailable: 1 }],
    [3, 1, 5, { surge: 1, unavailable: 3 }],
  ])("%d pods, %p more, %p missing", (replicas, surge, unavailable, expected) => {
    expect(margins(rolling(replicas, surge, unavailable))).toEqual(expected);
  });

  test.each([
    ["grows as far as the surge goes", rolling(4, 1, 1), set("new", 1), [set("old", 3)], { new: 2 }],
    [
      "shrinks what is old by what can be spared",
      rolling(4, 1, 1),
      set("new", 2),
      [set("old", 3)],
      { old: 1 },
    ],
    ["waits for new ones", rolling(4, 1, 0), set("new", 1, 0), [set("old", 4)], {}],
    [
      "takes what does not serve first",
      rolling(4, 1, 1),
      set("new", 1, 0),
      [set("a", 2, 2), set("b", 2, 0)],
      { b: 1 },
    ],
    ["is done", rolling(4, 1, 1), set("new", 4), [set("old", 0)], {}],
    ["takes back what is too much", rolling(2, 1, 1), set("new", 4), [], { new: 2 }],
  ])("a step %s", (_, d, current, old, expected) => {
    expect(Object.fromEntries(rollingStep(d, current, old))).toEqual(expected as never);
  });

  test.each([
    ["one set alone", rolling(6, 1, 1), set("new", 4), [], { new: 6 }],
    [
      "in the middle of a rollout, by their shares",
      rolling(20, 0, 1),
      set("new", 4, 4, 10),
      [set("old", 6, 6, 10)],
      { new: 8, old: 12 },
    ],
    ["to nothing", rolling(0, 1, 1), set("new", 4, 4, 10), [set("old", 6, 6, 10)], { new: 0, old: 0 }],
    [
      "the old ones go when the new one is whole",
      rolling(4, 1, 1),
      set("new", 4),
      [set("old", 1)],
      { old: 0 },
    ],
  ])("scaling: %s", (_, d, current, old, expected) => {
    expect(Object.fromEntries(proportional(d, current, old))).toEqual(expected as never);
  });
});

test("a template's hash does not depend on the order of fields, and nothing else is left out", () => {
  const { template } = deployment().spec;
  const turned = { spec: template.spec, metadata: { ...template.metadata } };
  expect(templateHash(turned, 0)).toBe(templateHash(template, 0));
  expect(templateHash(template, 1)).not.toBe(templateHash(template, 0));
  const other = { ...template, spec: { ...template.spec, containers: [{ name: "c", image: "other" }] } };
  expect(templateHash(other, 0)).not.toBe(templateHash(template, 0));
  expect(templateHash(template, 0)).toMatch(/^[bcdfghjklmnpqrstvwxz2456789]{10}$/);
  const labelled = { ...template, metadata: { labels: { app: "web", "pod-template-hash": "x" } } };
  expect(sameTemplate(template, labelled)).toBe(true);
});

describe("sets of others", () => {
  test("a set without an owner that is selected is adopted first", () => {
    const found = replicaSet("found");
    const labelled = { ...found, metadata: { ...found.metadata, labels: { app: "web" } } };
    const { writes } = reconcileDeployment(deployment(), [labelled], [], NOW);
    expect(writes).toMatchObject([
      { verb: "update", object: { metadata: { name: "found", ownerReferences: [{ name: "web" }] } } },
    ]);
  });

  test("a name that is taken leads to another one", () => {
    const hash = templateHash(deployment().spec.template, 0);
    const theirs = replicaSet(`web-${hash}`, { selector: { matchLabels: { app: "other" } } });
    const taken = { ...theirs, metadata: { ...theirs.metadata, labels: { app: "other" } } };
    const { writes } = reconcileDeployment(deployment(), [taken], [], NOW);
    const made = writes.find((w) => w.verb === "create");
    expect(made).toMatchObject({
      object: { metadata: { name: `web-${templateHash(deployment().spec.template, 1)}` } },
    });
    expect(writes).toContainEqual(
      expect.objectContaining({
        object: expect.objectContaining({ status: expect.objectContaining({ collisionCount: 1 }) }),
      }),
    );
  });
});

describe("on the server", () => {
  let cluster: TestCluster;
  const DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments";
  const SETS = "/apis/apps/v1/namespaces/default/replicasets";
  beforeAll(async () => {
    cluster = await startCluster();
    for (const name of ["node1", "node2"]) {
      await cluster.request("POST", "/api/v1/nodes", {
        apiVersion: "v1",
        kind: "Node",
        metadata: { name },
        status: { conditions: [{ type: "Ready", status: "True" }] },
      });
    }
  });
  afterAll(() => cluster.stop());

  const make = (name: string, replicas: number, strategy: object = {}): Promise<unknown> =>
    cluster.request("POST", DEPLOYMENTS, {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name, annotations: { note: "kept" } },
      spec: {
        replicas,
        progressDeadlineSeconds: 3,
        strategy,
        selector: { matchLabels: { app: name } },
        template: {
          metadata: { labels: { app: name } },
          spec: { containers: [{ name: "c", image: "web:1" }] },
        },
      },
    });
  const change = (name: string, spec: object): Promise<unknown> =>
    cluster.request("PATCH", `${DEPLOYMENTS}/${name}`, { spec });
  const image = (to: string): object => ({ template: { spec: { containers: [{ name: "c", image: to }] } } });
  const get = (name: string) => cluster.request<DeploymentObject>("GET", `${DEPLOYMENTS}/${name}`);
  const sets = async (name: string): Promise<ReplicaSetObject[]> =>
    (await cluster.request<{ items: ReplicaSetObject[] }>("GET", SETS)).items.filter((s) =>
      s.metadata.name.startsWith(`${name}-`),
    );
  const podsOf = (name: string) =>
    cluster.controllers.pods.all().filter((p) => p.metadata.labels?.["app"] === name);
  /** Of pods that nobody has told to end: a rollout is complete while the last old ones still do so. */
  const imagesOf = (name: string) =>
    new Set(
      podsOf(name)
        .filter((p) => p.metadata.deletionTimestamp === undefined)
        .map((p) => p.spec.containers[0]?.image),
    );
  const complete = (name: string, replicas: number) =>
    cluster.until(`${name} is complete`, async () => {
      const { metadata, status } = await get(name);
      const condition = status?.conditions?.find((c) => c.type === "Progressing");
      return (
        status?.observedGeneration === metadata.generation &&
        status?.availableReplicas === replicas &&
        status.updatedReplicas === replicas &&
        status.replicas === replicas &&
        condition?.reason === "NewReplicaSetAvailable"
      );
    });

  test("a rollout never has too many pods, nor too few", async () => {
    await make("steady", 6, { rollingUpdate: { maxSurge: 2, maxUnavailable: 1 } });
    await complete("steady", 6);
    const nodes = podsOf("steady").map((p) => p.spec.nodeName);
    expect(nodes.filter((n) => n === "node1")).toHaveLength(3);
    let [most, least] = [0, 99];
    let watching = true;
    cluster.controllers.pods.listen(() => {
      if (!watching) return;
      const live = podsOf("steady").filter((p) => p.metadata.deletionTimestamp === undefined);
      most = Math.max(most, live.length);
      least = Math.min(
        least,
        live.filter((p) => p.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True"))
          .length,
      );
    });
    await change("steady", image("web:2"));
    await complete("steady", 6);
    watching = false;
    expect(most).toBeLessThanOrEqual(8);
    expect(least).toBeGreaterThanOrEqual(5);
    expect(imagesOf("steady")).toEqual(new Set(["web:2"]));
    const revisions = (await sets("steady")).map(
      (s) => s.metadata.annotations?.["deployment.kubernetes.io/revision"],
    );
    expect(revisions.sort()).toEqual(["1", "2"]);
    expect((await sets("steady")).every((s) => s.metadata.annotations?.["note"] === "kept")).toBe(true);
    // Back to the first template: its set is used again, with a new number.
    await change("steady", image("web:1"));
    await complete("steady", 6);
    const again = (await sets("steady")).find((s) => s.spec.replicas === 6);
    expect(again?.metadata.annotations).toMatchObject({
      "deployment.kubernetes.io/revision": "3",
      "deployment.kubernetes.io/revision-history": "1",
    });
    expect(await sets("steady")).toHaveLength(2);
  }, 120_000);

  test("Recreate has no pod of the old template beside one of the new", async () => {
    await make("clean", 3, { type: "Recreate" });
    await complete("clean", 3);
    let mixed = false;
    cluster.controllers.pods.listen(() => {
      if (new Set(podsOf("clean").map((p) => p.spec.containers[0]?.image)).size > 1) mixed = true;
    });
    await change("clean", image("web:2"));
    await complete("clean", 3);
    expect(mixed).toBe(false);
  }, 120_000);

  test("a template that never becomes ready stops half way, and its deadline is told; undoing goes on", async () => {
    await make("brave", 4);
    await complete("brave", 4);
    await change("brave", image("broken:2"));
    await cluster.until("the deadline is told", async () => {
      const { status } = await get("brave");
      const late = status?.conditions?.some(
        (c) => c.reason === "ProgressDeadlineExceeded" && c.status === "False",
      );
      // Of a busy machine it may be told before the first old pod has gone.
      return late && status?.availableReplicas === 3;
    });
    const { status } = await get("brave");
    expect(status?.availableReplicas).toBe(3);
    expect(status?.conditions?.find((c) => c.type === "Available")?.status).toBe("True");
    await change("brave", image("web:1"));
    await complete("brave", 4);
  }, 120_000);

  test("paused, nothing moves but the number of pods", async () => {
    await make("calm", 2);
    await complete("calm", 2);
    await change("calm", { paused: true, ...image("web:2") });
    await change("calm", { replicas: 4 });
    await cluster.until("four pods", () => podsOf("calm").length === 4);
    expect(await sets("calm")).toHaveLength(1);
    expect(imagesOf("calm")).toEqual(new Set(["web:1"]));
    await change("calm", { paused: false });
    await complete("calm", 4);
    expect(imagesOf("calm")).toEqual(new Set(["web:2"]));
  }, 120_000);

  test("history is kept as long as is asked for; deletion takes all along", async () => {
    await make("old", 1);
    await change("old", { revisionHistoryLimit: 1 });
    for (const n of [1, 2, 3]) {
      await complete("old", 1);
      await change("old", image(`web:1${n}`));
    }
    await complete("old", 1);
    await cluster.until("two sets are left", async () => (await sets("old")).length === 2);
    await cluster.request("DELETE", `${DEPLOYMENTS}/old`, { propagationPolicy: "Background" });
    await cluster.until(
      "nothing is left",
      async () => (await sets("old")).length + podsOf("old").length === 0,
    );
  }, 120_000);

  test("orphaned sets are taken over by the next Deployment of the same selector", async () => {
    await make("heir", 2);
    await complete("heir", 2);
    const before = podsOf("heir")
      .map((p) => p.metadata.uid)
      .sort();
    await cluster.request("DELETE", `${DEPLOYMENTS}/heir`, { propagationPolicy: "Orphan" });
    await cluster.until("the set has no owner", async () =>
      (await sets("heir")).every((s) => s.metadata.ownerReferences === undefined),
    );
    await make("heir", 2);
    await complete("heir", 2);
    expect(
      podsOf("heir")
        .map((p) => p.metadata.uid)
        .sort(),
    ).toEqual(before);
  }, 120_000);
});
