import { describe, expect, test } from "bun:test";
import type { ManifestRows } from "./index.ts";
import { nodeManifest, parseManifests } from "./index.ts";

const node = (name: string, block: string, address = "192.0.2.1"): string =>
  nodeManifest({ name, addresses: [address], podCIDRs: [block] });

const POD = `
apiVersion: v1
kind: Pod
metadata:
  name: web-1
  labels: {app: web, app.kubernetes.io/part-of: shop}
spec:
  nodeName: n1
  containers:
  - name: web
    image: example.org/web:1
    command: [serve, --name, $(NAME), $$(NAME), $(NONE)]
    args: [--port=$(PORT)]
    env:
    - {name: PORT, value: "80"}
    - {name: NAME, value: "web on $(PORT)"}
    ports:
    - {containerPort: 80, name: http, protocol: TCP}
`;

describe("Pod", () => {
  test("becomes a row, with its uid derived from its name", () => {
    const rows = parseManifests(POD, "web.yaml");
    const uid = rows.pods[0]?.uid ?? "";
    expect(uid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(rows).toEqual({
      nodes: [],
      blocks: [],
      pods: [
        {
          namespace: "default",
          name: "web-1",
          uid,
          node: "n1",
          hostNetwork: false,
          labels: { app: "web", "app.kubernetes.io/part-of": "shop" },
          containers: [
            {
              name: "web",
              image: "example.org/web:1",
              command: ["serve", "--name", "web on 80", "$(NAME)", "$(NONE)", "--port=80"],
              environment: { PORT: "80", NAME: "web on 80" },
            },
          ],
          origin: { kind: "Pod", namespace: "default", name: "web-1", uid },
        },
      ],
      services: [],
      endpointSlices: [],
      serviceRanges: [],
      warnings: [],
      errors: [],
      conflicts: [],
    });
    expect(parseManifests(POD.replace("web-1", "web-2"), "web.yaml").pods[0]?.uid).not.toBe(uid);
  });

  test("without a node and with a uid of its own", () => {
    const text = POD.replace("  nodeName: n1\n", "  hostNetwork: yes\n").replace(
      "  name: web-1",
      "  name: web-1\n  uid: abc-1",
    );
    const [pod] = parseManifests(text, "f").pods;
    expect([pod?.node, pod?.uid, pod?.origin.uid, pod?.hostNetwork]).toEqual([
      undefined,
      "abc-1",
      "abc-1",
      true,
    ]);
  });

  test("names every field that has no effect, and every unknown one", () => {
    const { pods, warnings, errors } = parseManifests(
      `
apiVersion: v1
kind: Pod
metadata:
  name: a
  annotations: {k8s.v1.cni.cncf.io/networks: other, note: text}
spec:
  restartPolicy: Never
  dnsPolicy: ClusterFirst
  serviceAccountName: robot
  nodeSelector: {disk: fast}
  tolerations: [{operator: Exists}]
  affinity: {nodeAffinity: {}}
  securityContext: {runAsUser: 1}
  initContainers: [{name: b, image: b}]
  volumes: [{name: v, emptyDir: {}}]
  hostPID: false
  hostAliases: []
  contianers: []
  containers:
  - name: a
    image: a
    args: [x]
    envFrom: [{configMapRef: {name: c}}]
    env: [{name: X, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
    resources: {limits: {cpu: 1}}
    livenessProbe: {tcpSocket: {port: 80}}
    readinessProbe: {tcpSocket: {port: 80}}
    volumeMounts: [{name: v, mountPath: /v}]
    securityContext: {}
    ports: [{containerPort: 1, hostPort: 1}]
`,
      "p.yaml",
    );
    expect(errors).toEqual([]);
    expect(pods[0]?.containers[0]?.environment).toEqual({});
    expect(warnings).toEqual([
      "p.yaml:2: Pod default/a: has no effect here: metadata.annotations[k8s.v1.cni.cncf.io/networks], " +
        "spec.restartPolicy, spec.dnsPolicy, spec.serviceAccountName, spec.nodeSelector, spec.tolerations, " +
        "spec.affinity, spec.securityContext, spec.initContainers, spec.volumes, spec.containers[0].envFrom, " +
        "spec.containers[0].resources, spec.containers[0].livenessProbe, spec.containers[0].readinessProbe, " +
        "spec.containers[0].volumeMounts, spec.containers[0].ports[0].hostPort, " +
        "spec.containers[0].env[0].valueFrom, spec.containers[0].args without command",
      "p.yaml:2: Pod default/a: unknown field: spec.contianers",
    ]);
  });

  test("restartPolicy Always is what happens, so it is no matter for a warning", () => {
    expect(parseManifests(POD.replace("spec:", "spec:\n  restartPolicy: Always"), "f").warnings).toEqual([]);
  });
});

describe("Node", () => {
  test("becomes a node and its blocks; of each family the first InternalIP counts", () => {
    const { nodes, blocks, warnings, errors } = parseManifests(
      `
apiVersion: v1
kind: Node
metadata: {name: n1, uid: u1}
spec:
  podCIDR: 10.244.1.0/24
  podCIDRs: [10.244.1.0/24, "FD00:0::/64"]
  taints: [{key: a, effect: NoSchedule}]
  providerID: x
status:
  addresses:
  - {type: Hostname, address: n1}
  - {type: ExternalIP, address: 203.0.113.1}
  - {type: InternalIP, address: "2001:DB8::1"}
  - {type: InternalIP, address: 192.0.2.1}
  - {type: InternalIP, address: 192.0.2.2}
  nodeInfo: {kernelVersion: 6.1}
`,
      "n.yaml",
    );
    const origin = { kind: "Node", name: "n1", uid: "u1" };
    expect(errors).toEqual([]);
    expect(warnings).toEqual(["n.yaml:2: Node n1: has no effect here: spec.taints"]);
    expect(nodes as unknown).toEqual([{ name: "n1", addresses: ["2001:db8::1", "192.0.2.1"], origin }]);
    expect(blocks as unknown).toEqual([
      { prefix: "10.244.1.0/24", node: "n1", origin: { ...origin, field: "spec.podCIDRs[0]" } },
      { prefix: "fd00::/64", node: "n1", origin: { ...origin, field: "spec.podCIDRs[1]" } },
    ]);
  });

  test("says which network serves its pods, while a cluster is on the move", () => {
    const read = (value: string) =>
      parseManifests(
        `{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {weft.network/network: ${value}}}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}`,
        "n.yaml",
      );
    for (const value of ["weft", "other"]) expect(read(value).nodes[0]?.network).toBe(value as never);
    const { nodes, errors } = read("flannel");
    expect(errors).toEqual([]);
    expect(nodes[0]).toMatchObject({ name: "n1" });
    expect(nodes[0]?.network).toBeUndefined();
  });

  test("podCIDR alone is a block of that field", () => {
    const text = node("n1", "10.0.0.0/24").replace(/ {2}podCIDRs:\n.*\n/, "");
    expect(parseManifests(text, "f").blocks[0]?.origin.field).toBe("spec.podCIDR");
  });
});

describe("a text of several documents", () => {
  test("a broken one is an error with its line, and takes no other with it", () => {
    const text = [
      node("a", "10.0.0.0/24"),
      `kind: "unclosed\n`,
      node("b", "10.0.1.0/24", "192.0.2.2"),
      "x: [1,\n",
      POD,
    ].join("---\n");
    const { nodes, pods, errors } = parseManifests(text, "all.yaml");
    expect(nodes.map((n) => n.name)).toEqual(["a", "b"]);
    expect(pods.map((p) => p.name)).toEqual(["web-1"]);
    expect(errors).toHaveLength(2);
    expect(errors[0]).toMatch(/^all\.yaml:1[0-9]: .*quote/);
    expect(errors[1]).toMatch(/^all\.yaml:[0-9]+: .*Flow sequence/);
  });

  test("the line of a fault is that of its field, in every document", () => {
    const text = `${POD}---\n${POD.replace("web-1", "web-2").replace("image: example.org/web:1", 'image: ""')}`;
    const line = text.split("\n").findIndex((l) => l.includes('image: ""')) + 1;
    expect(parseManifests(text, "f.yaml").errors).toEqual([
      `f.yaml:${line}: Pod default/web-2: spec.containers[0].image: Required value`,
    ]);
  });

  test("comments, directives, empty documents, CRLF and a byte order mark are nothing special", () => {
    const text = `\uFEFF# first\n%YAML 1.2\n---\n# nothing\n---\n${node("a", "10.0.0.0/24")}...\n---\n---\n${POD}`;
    for (const t of [text, text.replaceAll("\n", "\r\n")]) {
      const rows = parseManifests(t, "f");
      expect([rows.errors, rows.warnings, rows.nodes.length, rows.pods.length]).toEqual([[], [], 1, 1]);
    }
  });

  test("`---` inside a block scalar's indentation does not end it", () => {
    const text = POD.replace(
      "command: [serve, --name, $(NAME), $$(NAME), $(NONE)]",
      "command:\n    - |\n      a\n      ---\n      b",
    );
    expect(parseManifests(text, "f").pods[0]?.containers[0]?.command[0]).toBe("a\n---\nb\n");
  });

  test("JSON, lists and lists of one kind are read", () => {
    const item = (name: string) => ({
      metadata: { name },
      spec: { containers: [{ name: "c", image: "i" }] },
    });
    const full = (name: string) => ({ apiVersion: "v1", kind: "Pod", ...item(name) });
    const json = JSON.stringify(
      { apiVersion: "v1", kind: "List", items: [full("a"), full("b")] },
      null,
      "\t",
    );
    const list = JSON.stringify({ apiVersion: "v1", kind: "PodList", metadata: {}, items: [item("c")] });
    const names = (text: string) => {
      const rows = parseManifests(text, "f.json");
      expect(rows.errors).toEqual([]);
      return rows.pods.map((p) => p.name);
    };
    expect(names(json)).toEqual(["a", "b"]);
    expect(names(list)).toEqual(["c"]);
    const bad = JSON.stringify(
      { apiVersion: "v1", kind: "List", items: [full("a"), {}, 5, full("B")] },
      null,
      1,
    );
    expect(parseManifests(bad, "l.json").errors.map((e) => e.replace(/:\d+/, ""))).toEqual([
      "l.json: items[1]: kind: Required value",
      "l.json: items[1]: apiVersion: Required value",
      "l.json: items[2]: must be a mapping with apiVersion and kind",
      expect.stringContaining(
        'Pod default/B: metadata.name: Invalid value: "B": a lowercase RFC 1123 subdomain',
      ),
    ]);
  });

  test("kinds that are not used are warned of by name", () => {
    const text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: x}\n";
    expect(parseManifests(text, "d.yaml").warnings).toEqual([
      "d.yaml:1: Deployment x/d: ignored, Weft does not use kind Deployment of apps/v1",
    ]);
    for (const kind of ["constructor", "__proto__", "toString"]) {
      expect(parseManifests(`{apiVersion: v1, kind: ${kind}}`, "d.yaml").warnings).toHaveLength(1);
    }
  });
});

describe("contradictions", () => {
  const outcome = ({ nodes, blocks, pods, errors }: ManifestRows) => ({
    nodes: nodes.map((n) => `${n.name} ${n.addresses}`),
    blocks: blocks.map((b) => `${b.node} ${b.prefix}`),
    pods: pods.length,
    errors,
  });

  test("an object that is there twice counts once", () => {
    const rows = parseManifests(`${node("a", "10.0.0.0/24")}---\n${node("a", "10.0.1.0/24")}`, "f.yaml");
    expect(outcome(rows)).toEqual({
      nodes: ["a 192.0.2.1"],
      blocks: ["a 10.0.0.0/24"],
      pods: 0,
      errors: ["f.yaml:16: Node a: is in f.yaml:1 too; the one in f.yaml:1 is used"],
    });
  });

  test.each([
    ["10.0.0.0/24", "10.0.0.0/24"],
    ["10.0.0.0/16", "10.0.5.0/24"],
    ["10.0.5.0/24", "10.0.0.0/16"],
  ])("of overlapping blocks %s and %s the first node by name keeps its own", (first, second) => {
    const rows = parseManifests(`${node("b", second, "192.0.2.2")}---\n${node("a", first)}`, "f.yaml");
    expect(outcome(rows)).toMatchObject({ nodes: ["a 192.0.2.1", "b 192.0.2.2"], blocks: [`a ${first}`] });
    expect(rows.errors).toHaveLength(1);
    expect(rows.errors[0]).toContain(
      `f.yaml:1: Node b: spec.podCIDRs[0]: Invalid value: "${second}": overlaps ${first}`,
    );
    expect(rows.errors[0]).toContain("Node a (f.yaml:16)");
  });

  test("what overlaps only a block that was refused is not refused", () => {
    const texts = [
      node("a", "10.0.0.0/24"),
      node("b", "10.0.0.0/16", "192.0.2.2"),
      node("c", "10.0.1.0/24", "192.0.2.3"),
    ];
    expect(outcome(parseManifests(texts.join("---\n"), "f")).blocks).toEqual([
      "a 10.0.0.0/24",
      "c 10.0.1.0/24",
    ]);
  });

  test("an address of two nodes belongs to the first by name", () => {
    const rows = parseManifests(`${node("b", "10.0.1.0/24")}---\n${node("a", "10.0.0.0/24")}`, "f");
    expect(outcome(rows).nodes).toEqual(["a 192.0.2.1", "b "]);
    expect(rows.errors).toHaveLength(1);
  });
});
