/** Options, objects, manifests and chart. */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isInvalid, WeftError } from "@weft/base";
import type { KubernetesObject } from "@weft/cluster/client";
import { parseAllDocuments, parseDocument } from "yaml";
import {
  apiServerOf,
  CAPABILITIES,
  chartFiles,
  checkOptions,
  installObjects,
  manifestText,
  parseApiServer,
  settingsOf,
} from "./index.ts";
import { cleanupPod } from "./objects/cleanup.ts";
import manifest from "./package.json" with { type: "json" };
import { renderChart } from "./testing/render.ts";

const VERSION = manifest.version;
const DEPLOY = join(import.meta.dir, "../../deploy");
const objects = (flags: Parameters<typeof checkOptions>[0] = {}) =>
  installObjects(checkOptions(flags, VERSION));
const parsed = (text: string): KubernetesObject[] =>
  parseAllDocuments(text)
    .map((d) => d.toJS() as KubernetesObject | null)
    .filter((o): o is KubernetesObject => o !== null);

test("deploy/weft.yaml is what weft install prints", () => {
  const text = readFileSync(join(DEPLOY, "weft.yaml"), "utf8");
  expect(text, "run: bun run scripts/manifests.ts").toContain(manifestText(objects()));
  expect(parsed(text)).toEqual(JSON.parse(JSON.stringify(objects())));
});

test("deploy/helm/weft is what the objects make", () => {
  const chart = join(DEPLOY, "helm/weft");
  const files = chartFiles(VERSION);
  const there = readdirSync(chart, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  expect(there.length).toBe(Object.keys(files).length);
  for (const [path, text] of Object.entries(files))
    expect(readFileSync(join(chart, path), "utf8"), "run: bun run scripts/manifests.ts").toBe(text);
});

const sorted = (list: readonly KubernetesObject[]) =>
  [...(JSON.parse(JSON.stringify(list)) as KubernetesObject[])].sort((a, b) =>
    `${a.kind} ${a.metadata.name}` < `${b.kind} ${b.metadata.name}` ? -1 : 1,
  );

test("the chart with its default values gives the same objects, but for the namespace", () => {
  const rendered = parsed(renderChart(chartFiles(VERSION), {}, "weft-system"));
  const wanted = objects().filter((o) => o.kind !== "Namespace");
  expect(sorted(rendered)).toEqual(sorted(wanted));
});

test("the chart with other values gives what the same flags give", () => {
  const values = {
    image: "registry.example.org/weft:7",
    imagePullPolicy: "Always",
    apiServer: { host: "fd00::1", port: 7443 },
    settings: { backend: "vxlan", mtu: 1400, vxlan: { port: 8472 } },
    cni: { binDir: "/var/lib/rancher/k3s/data/cni", confDir: "/var/lib/rancher/k3s/agent/etc/cni/net.d" },
    controller: { replicas: 3 },
  };
  const rendered = parsed(renderChart(chartFiles(VERSION), values, "elsewhere"));
  const wanted = objects({
    namespace: "elsewhere",
    image: values.image,
    imagePullPolicy: "Always",
    apiServer: values.apiServer,
    settings: values.settings,
    cniBinDir: values.cni.binDir,
    cniConfDir: values.cni.confDir,
    controllerReplicas: 3,
  }).filter((o) => o.kind !== "Namespace");
  expect(sorted(rendered)).toEqual(sorted(wanted));
});

interface PodSpec {
  hostNetwork?: boolean;
  hostPID?: boolean;
  containers: Container[];
  initContainers?: Container[];
  volumes: { name: string }[];
}
interface Container {
  name: string;
  securityContext: {
    privileged?: boolean;
    allowPrivilegeEscalation: boolean;
    capabilities: { drop: string[]; add?: string[] };
  };
  volumeMounts?: { name: string }[];
}
const podSpec = (kind: string): PodSpec =>
  (objects().find((o) => o.kind === kind) as unknown as { spec: { template: { spec: PodSpec } } }).spec
    .template.spec;

test("no container is privileged or has more than the capabilities that are explained; every mount has its volume", () => {
  const cleanup = cleanupPod("n", { ...checkOptions({}, VERSION), force: false });
  const pods = [podSpec("DaemonSet"), podSpec("Deployment"), cleanup["spec"] as PodSpec];
  const explained = new Set<string>(Object.values(CAPABILITIES).flatMap((list) => list.map((c) => c.name)));
  for (const pod of pods) {
    expect(pod.hostPID).toBeUndefined();
    for (const { securityContext, volumeMounts = [] } of [...pod.containers, ...(pod.initContainers ?? [])]) {
      expect(securityContext.privileged).toBeUndefined();
      expect(securityContext.allowPrivilegeEscalation).toBe(false);
      expect(securityContext.capabilities.drop).toEqual(["ALL"]);
      for (const name of securityContext.capabilities.add ?? []) expect(explained).toContain(name);
      for (const { name } of volumeMounts) expect(pod.volumes.map((v) => v.name)).toContain(name);
    }
  }
  expect(podSpec("Deployment").containers[0]?.securityContext.capabilities.add).toBeUndefined();
  const inDocs = readFileSync(join(DEPLOY, "../docs/install.md"), "utf8");
  for (const name of explained) expect(inDocs).toContain(`\`${name}\``);
});

test("agents may only read nodes, pods and what services are made of, record events, and write blocks of pools", () => {
  const role = objects().find((o) => o.kind === "ClusterRole" && o.metadata.name === "weft-agent");
  expect(role?.["rules"]).toEqual([
    { apiGroups: [""], resources: ["nodes", "services"], verbs: ["list", "watch"] },
    { apiGroups: [""], resources: ["pods", "namespaces"], verbs: ["get", "list", "watch"] },
    { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
    { apiGroups: ["networking.k8s.io"], resources: ["servicecidrs"], verbs: ["list", "watch"] },
    { apiGroups: ["events.k8s.io"], resources: ["events"], verbs: ["create", "patch"] },
    { apiGroups: ["weft.network"], resources: ["ippools"], verbs: ["get", "list", "watch"] },
    {
      apiGroups: ["weft.network"],
      resources: ["ipblocks", "ipblocks/status"],
      verbs: ["get", "list", "watch", "create", "update", "delete"],
    },
  ]);
  const all = objects().flatMap((o) => (o["rules"] as { verbs: string[]; resources: string[] }[]) ?? []);
  for (const { verbs, resources } of all) {
    expect(verbs).not.toContain("*");
    expect(resources).not.toContain("*");
    expect(resources).not.toContain("secrets");
  }
});

test("every object is well-formed YAML without anchors, and namespaced ones name the namespace asked for", () => {
  const text = manifestText(objects({ namespace: "other" }));
  expect(text).not.toMatch(/[&*][a-z]\d/);
  for (const piece of text.split("---\n").slice(1)) expect(parseDocument(piece).errors).toEqual([]);
  expect(text).not.toContain("weft-system");
});

test("addresses of the API server", () => {
  expect(parseApiServer("https://10.0.0.1:6443")).toEqual({ host: "10.0.0.1", port: 6443 });
  expect(parseApiServer("https://[fd00::1]:6443/")).toEqual({ host: "fd00::1", port: 6443 });
  expect(parseApiServer("https://api.example.org")).toEqual({ host: "api.example.org", port: 443 });
  const bad = [
    "",
    "10.0.0.1",
    "http://10.0.0.1",
    "https://10.0.0.1/k8s/c1",
    "https://u:p@h",
    "https://h?x=1",
    "https://",
  ];
  for (const text of bad) expect(() => parseApiServer(text)).toThrow(WeftError);
  expect(apiServerOf("https://10.0.0.1:6443").apiServer).toEqual({ host: "10.0.0.1", port: 6443 });
  for (const own of [
    "https://127.0.0.1:6443",
    "https://localhost:1",
    "https://[::1]:6443",
    "https://rancher/k8s/c",
  ])
    expect(apiServerOf(own)).toMatchObject({ unusable: expect.any(String) });
});

test("options that cannot be right are refused with the flag", () => {
  const bad: readonly (readonly [Parameters<typeof checkOptions>[0], string])[] = [
    [{ namespace: "Weft" }, "--namespace"],
    [{ namespace: "a".repeat(64) }, "--namespace"],
    [{ image: "" }, "--image"],
    [{ image: "a b" }, "--image"],
    [{ imagePullPolicy: "Sometimes" as "Never" }, "--image-pull-policy"],
    [{ cniBinDir: "opt/cni/bin" }, "--cni-bin-dir"],
    [{ cniConfDir: "/etc/../root" }, "--cni-conf-dir"],
    [{ controllerReplicas: Number.NaN }, "--controllers"],
    [{ controllerReplicas: 0 }, "--controllers"],
  ];
  for (const [flags, flag] of bad) {
    try {
      checkOptions(flags, VERSION);
      expect.unreachable(flag);
    } catch (error) {
      expect(isInvalid(error)).toBe(true);
      expect((error as Error).message).toContain(flag);
    }
  }
});

test("settings: flags over the file, both checked", () => {
  expect(settingsOf(undefined, {})).toEqual({ backend: "auto" });
  expect(settingsOf({ backend: "direct", vxlan: { port: 8472 } }, { backend: "vxlan", mtu: "1400" })).toEqual(
    {
      backend: "vxlan",
      vxlan: { port: 8472 },
      mtu: 1400,
    },
  );
  for (const [document, flags] of [
    [[], {}],
    [7, {}],
    [{ speed: 3 }, {}],
    [{}, { backend: "pigeon" }],
    [{}, { mtu: "12" }],
    [{}, { mtu: "big" }],
  ] as const)
    expect(() => settingsOf(document, flags)).toThrow(WeftError);
});
