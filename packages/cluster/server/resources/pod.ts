/** Pods, and the template of pods that other kinds have. */
import { environmentNameFault, labelFault } from "../../names.ts";
import { below, type Faults } from "../faults.ts";
import { builtIn, column } from "../resource.ts";
import { AGE, conditionOf, joined } from "../table/cells.ts";
import { age } from "../table/duration.ts";
import {
  type ApiObject,
  at,
  clone,
  ensure,
  equal,
  items,
  type Mapping,
  mapping,
  mappings,
  number,
  setDefault,
  text,
} from "../values.ts";
import { canonicalize } from "../write/canonical.ts";
import { nanoOf } from "../write/quantity.ts";

export const PODS = builtIn({
  kind: "Pod",
  plural: "pods",
  shortNames: ["po"],
  categories: ["all"],
  namespaced: true,
  status: true,
  fields: {
    "spec.nodeName": "",
    "spec.restartPolicy": "",
    "spec.schedulerName": "",
    "spec.serviceAccountName": "",
    "spec.hostNetwork": "false",
    "status.phase": "",
    "status.podIP": "",
    "status.nominatedNodeName": "",
  },
  columns: [
    column.name,
    column.text("Ready", (pod) => {
      const ready = statuses(pod, "containerStatuses").filter((s) => s["ready"] === true);
      return `${ready.length}/${items(at(pod, "spec", "containers")).length}`;
    }),
    column.text("Status", (pod) => statusText(pod)),
    column.text("Restarts", (pod, now) => restartsText(pod, now)),
    AGE,
    column.text("IP", (pod) => at(pod, "status", "podIP") ?? "<none>", 1),
    column.text("Node", (pod) => at(pod, "spec", "nodeName") ?? "<none>", 1),
    column.text("Nominated Node", (pod) => at(pod, "status", "nominatedNodeName") ?? "<none>", 1),
    column.text("Readiness Gates", (pod) => gatesText(pod), 1),
  ],

  prepare(pod, old) {
    const spec = ensure(pod, "spec");
    defaultPodSpec(spec);
    if (old !== undefined) return;
    for (const field of ["containers", "initContainers"]) {
      for (const container of mappings(spec[field])) requestLimits(ensure(container, "resources"));
    }
    const status: Mapping = { phase: "Pending", qosClass: qosClass(mapping(pod["spec"])) };
    pod["status"] = status;
  },

  validate(pod, old, faults) {
    validatePodSpec(mapping(pod["spec"]), "spec", faults);
    if (old !== undefined) validateUpdate(pod, old, faults);
  },

  /** A pod that runs somewhere is ended there, and then deleted with no grace period. */
  gracePeriod(pod) {
    const phase = at(pod, "status", "phase");
    if (text(at(pod, "spec", "nodeName")) === "" || phase === "Succeeded" || phase === "Failed") return 0;
    const usual = number(at(pod, "spec", "terminationGracePeriodSeconds")) ?? 30;
    return usual < 0 ? 1 : usual;
  },
});

const statuses = (pod: ApiObject, field: string): readonly Mapping[] => mappings(at(pod, "status", field));

/** kubectl's one word for the state of a pod: the most telling reason of its containers. */
function statusText(pod: ApiObject): string {
  let reason = text(at(pod, "status", "reason")) || text(at(pod, "status", "phase")) || "Unknown";
  const init = statuses(pod, "initContainerStatuses");
  const waits = init.findIndex(
    (s) => at(s, "state", "terminated", "exitCode") !== 0 && s["started"] !== true,
  );
  if (waits >= 0) {
    const status = init[waits];
    const why = at(status, "state", "terminated", "reason") ?? at(status, "state", "waiting", "reason");
    const plain = why === undefined || why === "PodInitializing";
    reason = plain
      ? `Init:${waits}/${items(at(pod, "spec", "initContainers")).length}`
      : `Init:${String(why)}`;
  } else {
    let running = false;
    for (const status of [...statuses(pod, "containerStatuses")].reverse()) {
      const waiting = text(at(status, "state", "waiting", "reason"));
      const ended = mapping(at(status, "state", "terminated"));
      if (waiting !== "") reason = waiting;
      else if (Object.keys(ended).length > 0) {
        reason = text(ended["reason"]) || `ExitCode:${String(ended["exitCode"])}`;
      } else if (status["ready"] === true && at(status, "state", "running") !== undefined) running = true;
    }
    if (reason === "Completed" && running) {
      reason = conditionOf(pod, "Ready")["status"] === "True" ? "Running" : "NotReady";
    }
  }
  return pod.metadata.deletionTimestamp === undefined ? reason : "Terminating";
}

function restartsText(pod: ApiObject, now: number): string {
  const all = statuses(pod, "containerStatuses");
  const count = all.reduce((sum, s) => sum + (number(s["restartCount"]) ?? 0), 0);
  const ends = all
    .map((s) => text(at(s, "lastState", "terminated", "finishedAt")))
    .filter((time) => time !== "")
    .sort();
  return count === 0 || ends.length === 0 ? String(count) : `${count} (${age(ends.at(-1), now)} ago)`;
}

function gatesText(pod: ApiObject): string {
  const gates = mappings(at(pod, "spec", "readinessGates"));
  if (gates.length === 0) return "<none>";
  const met = gates.filter((g) => conditionOf(pod, text(g["conditionType"]))["status"] === "True");
  return joined([`${met.length}/${gates.length}`]);
}

/** The defaults of a pod's spec, also of one in a template (API reference, PodSpec and Container). */
export function defaultPodSpec(spec: Mapping): void {
  setDefault(spec, "restartPolicy", "Always");
  setDefault(spec, "terminationGracePeriodSeconds", 30);
  setDefault(spec, "dnsPolicy", "ClusterFirst");
  setDefault(spec, "securityContext", {});
  setDefault(spec, "schedulerName", "default-scheduler");
  setDefault(spec, "enableServiceLinks", true);
  for (const field of ["containers", "initContainers", "ephemeralContainers"]) {
    for (const container of mappings(spec[field])) defaultContainer(container, spec["hostNetwork"] === true);
  }
  for (const volume of mappings(spec["volumes"])) {
    const source = Object.keys(volume).some((field) => field !== "name");
    if (!source) volume["emptyDir"] = {};
    if (volume["hostPath"] !== undefined) setDefault(mapping(volume["hostPath"]), "type", "");
    const projected = mappings(at(volume, "projected", "sources")).map((s) => mapping(s["downwardAPI"]));
    for (const { items } of [mapping(volume["downwardAPI"]), ...projected]) {
      for (const item of mappings(items)) setDefault(mapping(item["fieldRef"]), "apiVersion", "v1");
    }
    for (const kind of ["configMap", "secret", "projected", "downwardAPI"]) {
      if (volume[kind] !== undefined) setDefault(mapping(volume[kind]), "defaultMode", 420);
    }
  }
}

function defaultContainer(container: Mapping, hostNetwork: boolean): void {
  const image = text(container["image"]);
  const tag = /@/.test(image) ? "digest" : (/:([^:/]+)$/.exec(image)?.[1] ?? "latest");
  setDefault(container, "imagePullPolicy", tag === "latest" ? "Always" : "IfNotPresent");
  setDefault(container, "terminationMessagePath", "/dev/termination-log");
  setDefault(container, "terminationMessagePolicy", "File");
  setDefault(container, "resources", {});
  for (const port of mappings(container["ports"])) {
    setDefault(port, "protocol", "TCP");
    if (hostNetwork) setDefault(port, "hostPort", port["containerPort"]);
  }
  for (const variable of mappings(container["env"])) {
    setDefault(mapping(at(variable, "valueFrom", "fieldRef")), "apiVersion", "v1");
  }
  for (const handler of ["postStart", "preStop"])
    defaultRequest(at(container, "lifecycle", handler, "httpGet"));
  for (const probe of ["livenessProbe", "readinessProbe", "startupProbe"]) {
    if (container[probe] === undefined) continue;
    const given = mapping(container[probe]);
    const defaults = { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 };
    for (const [field, value] of Object.entries(defaults)) setDefault(given, field, value);
    defaultRequest(given["httpGet"]);
    if (given["grpc"] !== undefined) setDefault(mapping(given["grpc"]), "service", "");
  }
}

function defaultRequest(httpGet: unknown): void {
  setDefault(mapping(httpGet), "path", "/");
  setDefault(mapping(httpGet), "scheme", "HTTP");
}

/** What a container may use at most it gets, unless it asks for less. */
function requestLimits(resources: Mapping): void {
  const limits = Object.entries(mapping(resources["limits"]));
  if (limits.length === 0) return;
  const requests = ensure(resources, "requests");
  for (const [unit, limit] of limits) setDefault(requests, unit, limit);
}

/** Guaranteed, Burstable or BestEffort, by the requests and limits of all containers. */
function qosClass(spec: Mapping): string {
  const all = [...mappings(spec["containers"]), ...mappings(spec["initContainers"])].map((c) =>
    mapping(c["resources"]),
  );
  if (all.every((r) => [r["limits"], r["requests"]].every((q) => Object.keys(mapping(q)).length === 0))) {
    return "BestEffort";
  }
  const guaranteed = all.every(({ limits, requests }) =>
    ["cpu", "memory"].every((unit) => {
      const limit = mapping(limits)[unit];
      return limit !== undefined && equal(mapping(requests)[unit] ?? limit, limit);
    }),
  );
  return guaranteed ? "Guaranteed" : "Burstable";
}

/** What is wrong with a pod's spec, or that of a template at `path`. */
export function validatePodSpec(spec: Mapping, path: string, faults: Faults): void {
  if (items(spec["containers"]).length === 0 && Array.isArray(spec["containers"])) {
    faults.required(`${path}.containers`);
  }
  faults.oneOf(`${path}.restartPolicy`, spec["restartPolicy"], ["Always", "OnFailure", "Never"]);
  faults.oneOf(`${path}.dnsPolicy`, spec["dnsPolicy"], [
    "ClusterFirstWithHostNet",
    "ClusterFirst",
    "Default",
    "None",
  ]);
  faults.notNegative(`${path}.terminationGracePeriodSeconds`, spec["terminationGracePeriodSeconds"]);
  const volumes = new Set<string>();
  for (const [i, { name }] of mappings(spec["volumes"]).entries()) {
    const field = `${path}.volumes[${i}].name`;
    if (text(name) === "") continue;
    faults.form(field, name, labelFault);
    if (volumes.has(text(name))) faults.duplicate(field, name);
    volumes.add(text(name));
  }
  const names = new Set<string>();
  for (const list of ["initContainers", "containers"]) {
    for (const [i, container] of mappings(spec[list]).entries()) {
      validateContainer(container, below(`${path}.${list}`, i), names, volumes, faults);
    }
  }
}

function validateContainer(
  container: Mapping,
  path: string,
  names: Set<string>,
  volumes: ReadonlySet<string>,
  faults: Faults,
): void {
  const name = text(container["name"]);
  if (name === "") faults.required(`${path}.name`);
  else faults.form(`${path}.name`, name, labelFault);
  if (names.has(name)) faults.duplicate(`${path}.name`, name);
  names.add(name);
  if (text(container["image"]) === "") faults.required(`${path}.image`);
  faults.oneOf(`${path}.imagePullPolicy`, container["imagePullPolicy"], ["Always", "IfNotPresent", "Never"]);
  const ports = new Set<unknown>();
  for (const [i, port] of mappings(container["ports"]).entries()) {
    faults.range(`${path}.ports[${i}].containerPort`, port["containerPort"], 1, 65535);
    if (port["hostPort"] !== undefined)
      faults.range(`${path}.ports[${i}].hostPort`, port["hostPort"], 0, 65535);
    faults.oneOf(`${path}.ports[${i}].protocol`, port["protocol"], ["SCTP", "TCP", "UDP"]);
    if (port["name"] === undefined) continue;
    if (ports.has(port["name"])) faults.duplicate(`${path}.ports[${i}].name`, port["name"]);
    ports.add(port["name"]);
  }
  for (const [i, variable] of mappings(container["env"]).entries()) {
    if (text(variable["name"]) === "") faults.required(`${path}.env[${i}].name`);
    else faults.form(`${path}.env[${i}].name`, variable["name"], environmentNameFault);
  }
  validateResources(mapping(container["resources"]), `${path}.resources`, faults);
  for (const probe of ["livenessProbe", "readinessProbe", "startupProbe"]) {
    if (container[probe] === undefined) continue;
    const handlers = ["exec", "httpGet", "tcpSocket", "grpc"].filter(
      (h) => at(container, probe, h) !== undefined,
    );
    if (handlers.length === 0) faults.required(`${path}.${probe}`, "must specify a handler type");
    if (handlers.length > 1)
      faults.forbidden(`${path}.${probe}.${handlers[1]}`, "may not specify more than 1 handler type");
  }
  for (const [i, mount] of mappings(container["volumeMounts"]).entries()) {
    if (text(mount["mountPath"]) === "") faults.required(`${path}.volumeMounts[${i}].mountPath`);
    if (volumes.has(text(mount["name"]))) continue;
    const field = `${path}.volumeMounts[${i}].name`;
    faults.list.push({ type: "FieldValueNotFound", field, value: mount["name"], detail: "" });
  }
}

/** No quantity is below zero, and none is asked for above its limit. */
function validateResources({ limits, requests }: Mapping, path: string, faults: Faults): void {
  for (const [list, amounts] of [
    ["limits", mapping(limits)],
    ["requests", mapping(requests)],
  ] as const) {
    for (const [unit, amount] of Object.entries(amounts)) {
      if ((nanoOf(text(amount)) ?? 0n) < 0n)
        faults.invalid(`${path}.${list}[${unit}]`, amount, "must be greater than or equal to 0");
    }
  }
  for (const [unit, amount] of Object.entries(mapping(requests))) {
    const limit = mapping(limits)[unit];
    if (limit === undefined || (nanoOf(text(amount)) ?? 0n) <= (nanoOf(text(limit)) ?? 0n)) continue;
    faults.invalid(
      `${path}.requests`,
      amount,
      `must be less than or equal to ${unit} limit of ${text(limit)}`,
    );
  }
}

const MUTABLE =
  "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/** Of a pod's spec only images, deadline, tolerations, and gates that go may change. */
function validateUpdate(pod: ApiObject, old: ApiObject, faults: Faults): void {
  const fixed = (object: ApiObject): Mapping => {
    const spec = clone(mapping(object["spec"]));
    // An earlier version of this server may have known fewer defaults, and kept other forms.
    defaultPodSpec(spec);
    canonicalize({ spec }, "v1", "Pod");
    for (const field of ["activeDeadlineSeconds", "tolerations", "schedulingGates"]) delete spec[field];
    for (const field of ["containers", "initContainers"]) {
      for (const container of mappings(spec[field])) delete container["image"];
    }
    return spec;
  };
  if (!equal(fixed(pod), fixed(old))) {
    faults.forbidden("spec", `pod updates may not change fields other than ${MUTABLE}`);
  }
}
