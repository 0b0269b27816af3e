/** The real kubectl on a lab: what its users do with a cluster, and what they then see on the network. */
import { beforeAll, describe, expect, test } from "bun:test";
import { findKubectl, Kubectl } from "./harness/kubectl.ts";
import { Lab } from "./harness/lab.ts";
import { newDirectory, until, useWeft, weft } from "./harness/weft.ts";

const program = findKubectl();
if (program === undefined) {
  console.log("kubectl is not in e2e/.cache (./e2e/run builds it): its tests are skipped");
}

useWeft();
let lab: Lab;
const kubectl = new Kubectl(program ?? "", () => `/run/weft-lab/${lab.name}/kubeconfig`);

interface Pod {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly spec: { readonly nodeName?: string };
  readonly status: { readonly phase: string; readonly podIPs: readonly { readonly ip: string }[] };
}
const pods = async (selector: string): Promise<readonly Pod[]> =>
  (await kubectl.json<{ items: readonly Pod[] }>(`get pods -l ${selector}`)).items;

const web = (replicas: number, more = "", template = ""): string => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {kubernetes.io/change-cause: first}}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: web}}
  ${more}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: echo
        image: weft/echo
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {port: http}, periodSeconds: 1}
        lifecycle: {preStop: {sleep: {seconds: 1}}}
        ${template}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  ipFamilyPolicy: PreferDualStack
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
`;

const addresses = async (): Promise<readonly string[]> =>
  JSON.parse(await kubectl.ok("get service web -o jsonpath={.spec.clusterIPs}")) as string[];
const url = (ip: string): string => `http://${ip.includes(":") ? `[${ip}]` : ip}/`;

describe.skipIf(program === undefined)("kubectl", () => {
  beforeAll(async () => {
    lab = new Lab("--manifests", newDirectory("empty"));
    await lab.upOk();
  }, 240_000);

  test("sees nodes, agents, and what the lab is", async () => {
    const nodes = await kubectl.ok("get nodes -o wide");
    for (const name of ["node1", "node2", "node3"]) expect(nodes).toMatch(new RegExp(`${name} +Ready `));
    expect(nodes).toContain("198.18.2.11");
    await kubectl.until("the agents are there", "get pods -n weft-system", (text) =>
      ["node1", "node2", "node3"].every((n) => new RegExp(`weft-agent-${n} +1/1 +Running`).test(text)),
    );
    expect(await kubectl.ok("get nodes -L topology.kubernetes.io/zone")).toMatch(/node3 .* rack2/);
    const status = await weft("lab", "status", "--name", lab.name);
    expect(status.stdout).toContain(`kubectl: export KUBECONFIG=/run/weft-lab/${lab.name}/kubeconfig`);
    await kubectl.until(
      "the controller speaks for the network",
      "get nodes -o jsonpath={.items[*].status.conditions[?(@.type=='NetworkUnavailable')].reason}",
      (text) => text === "WeftIsReady WeftIsReady WeftIsReady",
    );
  }, 120_000);

  test("a Deployment's pods run on several nodes, and its Service answers from everywhere", async () => {
    await kubectl.ok("apply -f -", web(4));
    expect(await kubectl.ok("rollout status deployment/web --timeout=90s")).toContain(
      'deployment "web" successfully rolled out',
    );
    const running = await pods("app=web");
    expect(running.map((p) => p.status.phase)).toEqual(Array(4).fill("Running"));
    expect(new Set(running.map((p) => p.spec.nodeName)).size).toBe(3);
    expect(await kubectl.ok("get deployment web")).toMatch(/web +4\/4 +4 +4/);
    const described = await kubectl.ok(["describe", "pod", running[0]?.metadata.name ?? ""]);
    for (const word of ["Scheduled", "Started", "Successfully assigned default/web-"]) {
      expect(described).toContain(word);
    }
    for (const ip of await addresses()) {
      for (const from of ["node1", "node2", "node3", `default/${running[0]?.metadata.name}`]) {
        const ask = `for i in $(seq 16); do curl -sf --max-time 20 ${url(ip)} || echo failed; done`;
        await until(`all pods answer ${from} on ${ip}`, 60_000, async () => {
          const said = await lab.sh(from, ask);
          return running.every((p) => said.includes(p.metadata.name)) && !said.includes("failed");
        });
      }
    }
    expect((await lab.check()).code).toBe(0);
  }, 240_000);

  test("scaling, and deleting a pod", async () => {
    await kubectl.ok("scale deployment web --replicas=2");
    await until("two are left", 60_000, async () => (await pods("app=web")).length === 2);
    const [first] = await pods("app=web");
    await kubectl.ok(["delete", "pod", first?.metadata.name ?? ""]);
    await kubectl.ok("rollout status deployment/web --timeout=90s");
    const now = await pods("app=web");
    expect(now).toHaveLength(2);
    expect(now.map((p) => p.metadata.uid)).not.toContain(first?.metadata.uid);
    await kubectl.ok("scale deployment web --replicas=3");
    await kubectl.ok("rollout status deployment/web --timeout=90s");
    const slices = await kubectl.ok(
      "get endpointslices -l kubernetes.io/service-name=web -o jsonpath={.items[*].endpoints[*].addresses}",
    );
    for (const { status } of await pods("app=web")) {
      for (const { ip } of status.podIPs) expect(slices).toContain(`"${ip}"`);
    }
  }, 120_000);

  test("a restart under load loses no request", async () => {
    const [ip = ""] = await addresses();
    const load = lab.exec(
      "node2",
      `for i in $(seq 400); do curl -sf --max-time 5 -o /dev/null ${url(ip)} || echo failed $i $?; sleep 0.02; done`,
    );
    const before = await pods("app=web");
    await kubectl.ok("rollout restart deployment/web");
    await kubectl.ok("rollout status deployment/web --timeout=90s");
    const { stdout } = await load;
    expect(stdout).toBe("");
    const after = await pods("app=web");
    const old = new Set(before.map((p) => p.metadata.uid));
    expect(after.filter((p) => old.has(p.metadata.uid) && p.status.phase === "Running")).toEqual([]);
  }, 240_000);

  test("history, undo, pause", async () => {
    expect(await kubectl.ok("rollout history deployment/web")).toMatch(
      /REVISION +CHANGE-CAUSE\n1 +first\n2 /,
    );
    await kubectl.ok("set env deployment/web COLOUR=blue");
    await kubectl.ok("rollout status deployment/web --timeout=90s");
    await kubectl.ok("rollout undo deployment/web --to-revision=1");
    await kubectl.ok("rollout status deployment/web --timeout=90s");
    expect(await kubectl.ok("rollout history deployment/web")).toMatch(/\n4 +first\n/);
    await kubectl.ok("rollout pause deployment/web");
    await kubectl.ok("set env deployment/web COLOUR=red");
    const sets = await kubectl.ok("get replicasets -l app=web -o name");
    expect(sets.trim().split("\n")).toHaveLength(3);
    await kubectl.ok("rollout resume deployment/web");
    await kubectl.ok("rollout status deployment/web --timeout=90s");
    expect((await kubectl.ok("get replicasets -l app=web -o name")).trim().split("\n")).toHaveLength(4);
  }, 240_000);

  test("a cordoned node gets no pods, and a pod that fits nowhere says why", async () => {
    await kubectl.ok("cordon node1");
    await kubectl.ok("taint node node2 dedicated=db:NoSchedule");
    const pod = (name: string, more: string): string =>
      `{apiVersion: v1, kind: Pod, metadata: {name: ${name}}, spec: {${more}, containers: [{name: c, image: weft/pause}]}}`;
    await kubectl.ok("apply -f -", pod("lost", "nodeSelector: {disk: ssd}"));
    const why =
      "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, " +
      "1 node(s) had untolerated taint(s) {dedicated: db}, 1 node(s) were unschedulable.";
    await kubectl.until("it is said why", "describe pod lost", (text) => text.includes(why));
    await kubectl.ok("apply -f -", pod("found", "tolerations: [{key: dedicated, operator: Exists}]"));
    await kubectl.ok("wait --for=condition=Ready pod/found --timeout=90s");
    await kubectl.ok("label node node3 disk=ssd");
    await kubectl.ok("wait --for=condition=Ready pod/lost --timeout=90s");
    expect(await kubectl.ok("get pod lost -o jsonpath={.spec.nodeName}")).toBe("node3");
    await kubectl.ok("drain node3 --force --delete-emptydir-data --ignore-daemonsets --timeout=90s");
    expect(await kubectl.ok("get pods -o jsonpath={.items[*].spec.nodeName}")).not.toContain("node3");
    await kubectl.ok("uncordon node3");
    // What its users have said of a node is theirs, whoever supervises it.
    process.kill((await lab.condition()).supervisor.pid, "SIGKILL");
    await until(
      "it is gone",
      60_000,
      async () => (await weft("lab", "status", "--name", lab.name)).code === 3,
    );
    await lab.upOk();
    const nodes = await kubectl.ok("get nodes --show-labels");
    expect(nodes).toMatch(/node1 +Ready,SchedulingDisabled/);
    expect(nodes).toMatch(/node3 .*disk=ssd/);
    await kubectl.ok("uncordon node1");
    await kubectl.ok("taint node node2 dedicated-");
    await kubectl.ok("rollout status deployment/web --timeout=90s");
  }, 240_000);

  test("pods that end, fail, and are found dead", async () => {
    const pod = (name: string, policy: string, script: string, more = ""): string =>
      JSON.stringify({
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name },
        spec: {
          restartPolicy: policy,
          terminationGracePeriodSeconds: 1,
          containers: [
            { name: "c", image: "host", command: ["bash", "-c", script], ...JSON.parse(more || "{}") },
          ],
        },
      });
    await kubectl.ok("apply -f -", pod("done", "Never", "exit 0"));
    await kubectl.ok("apply -f -", pod("broken", "Never", "exit 3"));
    await kubectl.ok("apply -f -", pod("again", "OnFailure", "exit 4"));
    const liveness =
      '{"livenessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}}';
    await kubectl.ok("apply -f -", pod("dead", "Always", "sleep 100", liveness));
    await kubectl.until("done", "get pod done", (text) => /done +0\/1 +Completed +0/.test(text));
    await kubectl.until("broken", "get pod broken", (text) => /broken +0\/1 +Error +0/.test(text));
    await kubectl.until("again", "get pod again", (text) =>
      /again +0\/1 +(CrashLoopBackOff|Error) +[1-9]/.test(text),
    );
    await kubectl.until(
      "dead",
      "describe pod dead",
      (text) => /Liveness probe failed/.test(text) && /failed liveness probe, will be restarted/.test(text),
    );
    expect(await kubectl.ok("get pod broken -o jsonpath={.status.phase}")).toBe("Failed");
    await kubectl.ok("delete pod done broken again dead --timeout=90s");
  }, 240_000);

  test("what is deleted is gone, on the network too", async () => {
    await kubectl.ok("delete deployment web --timeout=90s");
    await kubectl.ok("delete service web");
    await until("the pods are gone", 60_000, async () => (await pods("app=web")).length === 0);
    await kubectl.until("the slices are gone", "get endpointslices -o name", (text) => text === "");
    await kubectl.ok("delete pod --all --timeout=90s");
    expect([...new Bun.Glob(`weft-${lab.name}-pod-*`).scanSync({ cwd: "/run/netns" })]).toEqual([]);
    const { workloads } = await lab.agent("node1");
    expect(workloads).toEqual([]);
  }, 240_000);

  test("what the lab does not have is said", async () => {
    const pod =
      "{apiVersion: v1, kind: Pod, metadata: {name: quiet}, spec: {containers: [{name: c, image: weft/pause}]}}";
    await kubectl.ok("apply -f -", pod);
    await kubectl.ok("wait --for=condition=Ready pod/quiet --timeout=90s");
    expect((await kubectl.run("logs quiet")).stderr).toContain("use: weft lab logs POD");
    const exec = await kubectl.run("exec quiet -- true");
    expect([exec.code, exec.stderr]).toEqual([1, expect.stringContaining("use: weft lab exec POD")]);
    const job = "{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {}}";
    expect((await kubectl.run("apply --validate=false -f -", job)).stderr).toContain(
      'no matches for kind "Job"',
    );
  }, 120_000);
});
