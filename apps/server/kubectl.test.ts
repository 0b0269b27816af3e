/** The real kubectl against `weft server`. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import {
  findKubectl,
  removeDirectory,
  type ServerProcess,
  startProcess,
  temporaryDirectory,
} from "./testing/process.ts";

const kubectl = findKubectl();
if (kubectl === undefined) {
  console.log("kubectl is not in e2e/.cache (./e2e/run builds it): its tests are skipped");
}

let directory: string;
let server: ServerProcess;

interface Output {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const environment = () => ({
  HOME: directory,
  PATH: process.env["PATH"] ?? "",
  KUBECACHEDIR: join(directory, "cache"),
});

/** Runs kubectl with these words, split at spaces; `input` is its standard input. */
async function run(words: string | readonly string[], input?: string): Promise<Output> {
  const list = typeof words === "string" ? words.split(" ") : words;
  const child = Bun.spawn([kubectl as string, "--kubeconfig", server.kubeconfig, ...list], {
    stdin: input === undefined ? "ignore" : Buffer.from(input),
    stdout: "pipe",
    stderr: "pipe",
    env: environment(),
  });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code: await child.exited, out, err };
}

/** The output of a run that must succeed. */
async function ok(words: string | readonly string[], input?: string): Promise<string> {
  const { code, out, err } = await run(words, input);
  expect({ words, code, err }).toEqual({ words, code: 0, err: expect.any(String) });
  return out;
}

const WEB = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: "example/web:1", ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  type: NodePort
  ports: [{port: 80}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]
`;

const WIDGETS = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [color]
            properties: {color: {type: string, enum: [red, green]}, size: {type: integer, default: 3}}
`;

describe.skipIf(kubectl === undefined)("kubectl", () => {
  beforeAll(async () => {
    directory = temporaryDirectory();
    server = await startProcess(directory);
  });
  afterAll(async () => {
    await server.stop();
    removeDirectory(directory);
  });

  test("knows the resources and their short names", async () => {
    const out = await ok("api-resources");
    for (const part of ["deployments", "deploy", "networkpolicies", "netpol", "apps/v1"])
      expect(out).toContain(part);
    expect(await ok("version")).toContain("Server Version: v1.34");
    expect(await ok("explain pod.spec.containers")).toContain("image");
    expect(await ok("get --raw /readyz")).toBe("ok");
  });

  test("creates each thing that it has a word for", async () => {
    await ok("create namespace tools");
    await ok("-n tools create configmap c --from-literal=a=1");
    await ok("-n tools create secret generic s --from-literal=p=q");
    await ok("-n tools create serviceaccount me");
    await ok("-n tools create deployment d --image=example/d:1 --replicas=0");
    await ok("-n tools expose deployment d --port=80 --target-port=8080");
    await ok("-n tools create service clusterip headless --clusterip=None");
    await ok("-n tools run p --image=example/p --labels=a=b --env=X=1 -- sleep 60");
    // What went over the wire as protobuf is what JSON shows.
    expect(
      await ok(
        "-n tools get deployment d -o jsonpath={.spec.replicas}/{.spec.template.spec.containers[0].image}",
      ),
    ).toBe("0/example/d:1");
    expect(await ok("-n tools get configmap c -o jsonpath={.data.a}")).toBe("1");
    expect(await ok("-n tools get secret s -o jsonpath={.data.p}")).toBe("cQ==");
    expect(
      await ok("-n tools get service d -o jsonpath={.spec.ports[0].targetPort}/{.spec.ports[0].nodePort}"),
    ).toBe("8080/");
    expect(
      await ok(
        "-n tools get pod p -o jsonpath={.spec.containers[0].args}{.spec.containers[0].env}{.metadata.labels}",
      ),
    ).toBe('["sleep","60"][{"name":"X","value":"1"}]{"a":"b"}');
    await ok("delete namespace tools");
    expect((await run("get namespace tools")).err).toContain('namespaces "tools" not found');
  });

  test("applies, sees no difference, applies a change, and deletes", async () => {
    expect(await ok("apply -f -", WEB)).toBe(
      "deployment.apps/web created\nservice/web created\nnetworkpolicy.networking.k8s.io/web created\n",
    );
    expect(await ok("apply -f -", WEB)).toContain("deployment.apps/web unchanged\nservice/web unchanged");
    expect((await run("diff -f -", WEB)).code).toBe(0);
    const changed = WEB.replace("web:1", "web:2").replace(", ports: [{containerPort: 80}]", "");
    expect(await ok("apply -f -", changed)).toContain(
      "deployment.apps/web configured\nservice/web unchanged",
    );
    expect(await ok("get deployment web -o jsonpath={.spec.template.spec.containers}")).not.toContain(
      "ports",
    );
    expect(await ok("get all -o wide")).toMatch(
      /deployment.apps\/web +0\/2 +0 +0 +\S+ +c +example\/web:2 +app=web/,
    );
    expect(await ok("get svc web")).toMatch(/web +NodePort +10\.96\.\d+\.\d+ +<none> +80:3\d{4}\/TCP/);
    expect(await ok("get netpol")).toContain("app=web");
    expect(await ok("describe service web")).toContain("Type:                     NodePort");
    expect(await ok("describe deployment web")).toContain(
      "RollingUpdateStrategy:  25% max unavailable, 25% max surge",
    );
    expect(await ok("describe networkpolicy web")).toContain("To Port: 80/TCP");
    expect(await ok("get deploy web -o yaml")).toContain("image: example/web:2");
    expect(JSON.parse(await ok("get deploy,svc -o json")).items).toHaveLength(2);
    expect(await ok("delete -f -", WEB)).toContain('service "web" deleted');
  });

  test("scales, labels, annotates, patches, replaces and sets", async () => {
    await ok("apply -f -", WEB);
    await ok("scale deployment web --replicas=5");
    expect(await ok("get deployment web -o jsonpath={.spec.replicas}")).toBe("5");
    expect((await run("scale deployment web --current-replicas=4 --replicas=1")).err).toContain(
      "Expected replicas to be 4, was 5",
    );
    await ok("label deployment web tier=front");
    expect(await ok("get deployment -l tier=front -o name")).toBe("deployment.apps/web\n");
    expect(await ok("get deployment -l tier!=front -o name")).toBe("");
    expect((await run("label deployment web tier=back")).err).toContain("already has a value (front)");
    await ok("annotate deployment web note=hello");
    await ok("label deployment web tier-");
    await ok([
      "patch",
      "deployment",
      "web",
      "-p",
      '{"spec":{"template":{"spec":{"containers":[{"name":"d","image":"example/d:1"}]}}}}',
    ]);
    expect(await ok("get deployment web -o jsonpath={.spec.template.spec.containers[*].name}")).toBe("d c");
    await ok([
      "patch",
      "deployment",
      "web",
      "--type=json",
      "-p",
      '[{"op":"remove","path":"/spec/template/spec/containers/0"}]',
    ]);
    await ok("set image deployment/web c=example/web:9");
    const yaml = await ok("get deployment web -o yaml");
    expect(await ok("replace -f -", yaml.replace("web:9", "web:10"))).toContain("replaced");
    await ok("delete -f -", WEB);
  });

  test("watches, and waits for conditions and deletion", async () => {
    await ok("create configmap w --from-literal=a=1");
    const words = "get configmap -w --output-watch-events --field-selector metadata.name=w";
    const watch = Bun.spawn([kubectl as string, "--kubeconfig", server.kubeconfig, ...words.split(" ")], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "ignore",
      env: environment(),
    });
    const reader = watch.stdout.getReader();
    let out = "";
    const heard = async (word: string): Promise<void> => {
      for (let end = false; !end && !out.includes(word); ) {
        const { done, value } = await reader.read();
        out += Buffer.from(value ?? []).toString();
        end = done;
      }
    };
    await heard("ADDED");
    const waiting = run("wait --for=delete configmap/w --timeout=90s");
    const value = run("wait --for=jsonpath={.data.a}=2 configmap/w --timeout=90s");
    await ok(["patch", "configmap", "w", "-p", '{"data":{"a":"2"}}']);
    expect((await value).out).toContain("condition met");
    await ok("delete configmap w");
    expect((await waiting).code).toBe(0);
    await heard("DELETED");
    watch.kill();
    await watch.exited;
    expect(out.split("\n").map((line) => line.split(" ")[0])).toEqual([
      "EVENT",
      "ADDED",
      "MODIFIED",
      "DELETED",
      "",
    ]);
  });

  test("makes pods, deployments and services by its short commands", async () => {
    expect(await ok("run one --image=example/one:1 --port=80 --labels=app=one")).toContain("pod/one created");
    expect(await ok("expose pod one --port=8080 --target-port=80")).toContain("service/one exposed");
    expect(await ok("get service one -o jsonpath={.spec.selector.app}:{.spec.ports[0].port}")).toBe(
      "one:8080",
    );
    await ok("create deployment dep --image=example/dep:1 --replicas=3");
    expect(await ok("expose deployment dep --port=80 --type=NodePort")).toContain("service/dep exposed");
    const strategy = "{.spec.strategy.type} {.spec.revisionHistoryLimit} {.spec.progressDeadlineSeconds}";
    expect(await ok(["get", "deployment", "dep", "-o", `jsonpath=${strategy}`])).toBe("RollingUpdate 10 600");
    await ok("delete pod/one service/one deployment/dep service/dep");
  });

  test("follows rollouts, starts them anew and takes them back", async () => {
    await ok("create deployment roll --image=example/roll:1");
    const template = async (): Promise<object> =>
      JSON.parse(await ok("get deployment roll -o json")).spec.template;
    /** What the controller of deployments does of it: a set for the template, and what it says of itself. */
    const control = async (revision: number): Promise<void> => {
      const { metadata, spec } = JSON.parse(await ok("get deployment roll -o json"));
      const annotation = { "deployment.kubernetes.io/revision": String(revision) };
      const hash = { "pod-template-hash": `r${revision}` };
      const labels = { ...spec.template.metadata.labels, ...hash };
      const owner = {
        apiVersion: "apps/v1",
        kind: "Deployment",
        name: "roll",
        uid: metadata.uid,
        controller: true,
      };
      const set = {
        apiVersion: "apps/v1",
        kind: "ReplicaSet",
        metadata: { name: `roll-${revision}`, labels, annotations: annotation, ownerReferences: [owner] },
        spec: {
          replicas: 1,
          selector: { matchLabels: labels },
          template: { ...spec.template, metadata: { ...spec.template.metadata, labels } },
        },
      };
      await ok("apply -f -", JSON.stringify(set));
      await ok([
        "annotate",
        "deployment",
        "roll",
        "--overwrite",
        `deployment.kubernetes.io/revision=${revision}`,
      ]);
      const status = {
        observedGeneration: metadata.generation,
        replicas: 1,
        updatedReplicas: 1,
        readyReplicas: 1,
        availableReplicas: 1,
        conditions: [{ type: "Progressing", status: "True", reason: "NewReplicaSetAvailable" }],
      };
      await ok([
        "patch",
        "deployment",
        "roll",
        "--subresource=status",
        "--type=merge",
        "-p",
        JSON.stringify({ status }),
      ]);
    };
    const waiting = run("rollout status deployment/roll --timeout=90s");
    await control(1);
    expect(await waiting).toMatchObject({ code: 0, out: expect.stringContaining("successfully rolled out") });
    const first = await template();

    await ok("set image deployment/roll roll=example/roll:2");
    expect((await run("rollout status deployment/roll --timeout=2s")).code).toBe(1);
    await control(2);
    await ok("rollout status deployment/roll --timeout=90s");
    await ok("rollout restart deployment/roll");
    expect(JSON.stringify(await template())).toContain("kubectl.kubernetes.io/restartedAt");
    await control(3);
    const history = await ok("rollout history deployment/roll");
    expect(history.match(/^\d+/gm)).toEqual(["1", "2", "3"]);
    await ok("rollout undo deployment/roll --to-revision=1");
    expect(await template()).toEqual(first);
    await ok("rollout pause deployment/roll");
    await ok("rollout resume deployment/roll");
    expect(await ok("get deployment roll -o jsonpath={.metadata.generation}")).toBe("6");
    await ok("delete deployment roll --cascade=foreground");
    await ok("wait --for=delete replicaset/roll-1 --timeout=90s");
  });

  test("empties a node by evictions, and gives it back", async () => {
    const node = (name: string): string => `{apiVersion: v1, kind: Node, metadata: {name: ${name}}}`;
    await ok("apply -f -", [node("drained"), node("other")].join("\n---\n"));
    const pod = (name: string, on: string): string =>
      `{apiVersion: v1, kind: Pod, metadata: {name: ${name}}, spec: {nodeName: ${on}, containers: [{name: c, image: x}]}}`;
    await ok("apply -f -", [pod("away", "drained"), pod("stays", "other")].join("\n---\n"));
    await ok("cordon drained");
    expect(await ok("get node drained")).toContain("SchedulingDisabled");
    const draining = run("drain drained --force --timeout=90s");
    // The kubelet: once a pod is marked it ends it, and says so by a deletion without grace.
    await ok("wait --for=jsonpath={.metadata.deletionTimestamp} pod/away --timeout=90s");
    expect(await ok("get pod away")).toContain("Terminating");
    expect(await ok("get pod away -o jsonpath={.metadata.deletionGracePeriodSeconds}")).toBe("30");
    await ok("delete pod away --grace-period=0 --force");
    const { code, out } = await draining;
    expect(code).toBe(0);
    expect(out).toContain("pod/away evicted");
    expect(out).toContain("node/drained drained");
    expect(await ok("get pods --field-selector spec.nodeName=other -o name")).toContain("pod/stays");
    await ok("uncordon drained");
    expect(await ok("get node drained -o jsonpath={.spec.unschedulable}")).toBe("");
    await ok("delete pod stays --now --wait=false");
    expect(await ok("get pod stays -o jsonpath={.metadata.deletionGracePeriodSeconds}")).toBe("1");
    await ok("delete pod stays --force --grace-period=0");
    await ok("delete node drained other");
  });

  test("works with custom resources", async () => {
    await ok("apply -f -", WIDGETS);
    await ok("wait --for=condition=established crd/widgets.example.com --timeout=90s");
    const widget = (spec: string): string =>
      `{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}, spec: ${spec}}`;
    await ok("apply -f -", widget("{color: red}"));
    expect(await ok("get wd")).toMatch(/NAME +SIZE\nw +3/);
    await ok("scale widget w --replicas=7");
    expect(await ok("get widget w -o jsonpath={.spec.size}")).toBe("7");
    expect((await run("apply -f -", widget("{color: blue}"))).err).toContain(
      'spec.color: Unsupported value: "blue": supported values: "red", "green"',
    );
    expect((await run("apply -f -", widget("{color: red, bogus: 1}"))).err).toContain(
      'unknown field "spec.bogus"',
    );
    expect(await ok("explain widget.spec.color")).toMatch(/ENUM:\s+red\s+green/);
    await ok("delete crd widgets.example.com");
    expect((await run("get widgets")).code).toBe(1);
  });

  test("is told what is wrong in the words of Kubernetes", async () => {
    const pod = (rest: string): string => `{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {${rest}}}`;
    const bad = await run(
      "apply -f -",
      pod("restartPolicy: Nope, containers: [{name: c, ports: [{containerPort: 0}]}]"),
    );
    expect(bad.err).toContain('The Pod "x" is invalid:');
    for (const part of [
      '* spec.restartPolicy: Unsupported value: "Nope": supported values: "Always", "OnFailure", "Never"',
      "* spec.containers[0].image: Required value",
      "* spec.containers[0].ports[0].containerPort: Invalid value: 0: must be between 1 and 65535, inclusive",
    ]) {
      expect(bad.err).toContain(part);
    }
    expect((await run("apply -f -", pod("contaners: []"))).err).toContain(
      'strict decoding error: unknown field "spec.contaners"',
    );
    expect((await run("get pod nope")).err).toBe('Error from server (NotFound): pods "nope" not found\n');
    expect((await run("create namespace default")).err).toContain(
      'Error from server (AlreadyExists): namespaces "default" already exists',
    );
    expect((await run("apply --server-side -f -", WEB)).err).toContain(
      "this server has no server-side apply",
    );
    expect((await run("get pods --field-selector spec.color=red")).err).toContain(
      "field label not supported: spec.color",
    );
  });

  test("pages through a long list", async () => {
    const objects = Array.from(
      { length: 45 },
      (_, i) => `{apiVersion: v1, kind: ConfigMap, metadata: {name: p${i}, labels: {page: "1"}}}`,
    );
    await ok("create -f -", objects.join("\n---\n"));
    expect((await ok("get configmap -l page=1 --chunk-size=10 -o name")).trim().split("\n")).toHaveLength(45);
    await ok("delete configmap -l page=1");
    expect(await ok("get configmap -l page=1 -o name")).toBe("");
  });
});
