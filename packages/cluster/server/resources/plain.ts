/** Resources that hardly need more than their columns. */
import { labelFault, labelKeyFault, labelValueFault } from "../../names.ts";
import { builtIn, column } from "../resource.ts";
import { FORMATS } from "../schema/formats.ts";
import { AGE, joined, selectorText } from "../table/cells.ts";
import { at, ensure, equal, items, type Mapping, mapping, mappings, setDefault, text } from "../values.ts";
import { validateSelector } from "./workloads.ts";

export const NAMESPACES = builtIn({
  kind: "Namespace",
  plural: "namespaces",
  shortNames: ["ns"],
  namespaced: false,
  status: true,
  permanent: ["default", "kube-system", "kube-public"],
  nameFault: labelFault,
  fields: { "status.phase": "" },
  columns: [column.name, column.text("Status", (o) => at(o, "status", "phase")), AGE],
  prepare(object, old) {
    // What a namespace is created with, its content's end takes away; nobody else may change it.
    const held = old === undefined ? ["kubernetes"] : at(old, "spec", "finalizers");
    object["spec"] = held === undefined ? {} : { finalizers: held };
    object.metadata.labels = {
      ...object.metadata.labels,
      "kubernetes.io/metadata.name": object.metadata.name,
    };
    if (old === undefined) object["status"] = { phase: "Active" };
  },
});

export const CONFIG_MAPS = builtIn({
  kind: "ConfigMap",
  plural: "configmaps",
  shortNames: ["cm"],
  namespaced: true,
  columns: [
    column.name,
    column.number(
      "Data",
      (o) => Object.keys(mapping(o["data"])).length + Object.keys(mapping(o["binaryData"])).length,
    ),
    AGE,
  ],
  validate(object, old, faults) {
    validateKeys(object, ["data", "binaryData"], faults);
    for (const key of Object.keys(mapping(object["data"]))) {
      if (!Object.hasOwn(mapping(object["binaryData"]), key)) continue;
      faults.invalid(`data[${key}]`, key, "duplicate of key present in binaryData");
    }
    validateImmutable(object, old, ["data", "binaryData"], faults);
  },
});

/** What a Secret of a type must have. */
const NEEDED_KEYS: Readonly<Record<string, readonly string[]>> = {
  "kubernetes.io/tls": ["tls.crt", "tls.key"],
  "kubernetes.io/dockerconfigjson": [".dockerconfigjson"],
  "kubernetes.io/dockercfg": [".dockercfg"],
  "kubernetes.io/ssh-auth": ["ssh-privatekey"],
};

export const SECRETS = builtIn({
  kind: "Secret",
  plural: "secrets",
  namespaced: true,
  fields: { type: "" },
  columns: [
    column.name,
    column.text("Type", (o) => o["type"]),
    column.number("Data", (o) => Object.keys(mapping(o["data"])).length),
    AGE,
  ],
  prepare(object) {
    setDefault(object, "type", "Opaque");
    const plain = Object.entries(mapping(object["stringData"]));
    delete object["stringData"];
    if (plain.length === 0) return;
    const data = ensure(object, "data");
    for (const [key, value] of plain) data[key] = Buffer.from(text(value)).toString("base64");
  },
  validate(object, old, faults) {
    validateKeys(object, ["data"], faults);
    for (const key of NEEDED_KEYS[text(object["type"])] ?? []) {
      if (mapping(object["data"])[key] === undefined) faults.required(`data[${key}]`);
    }
    if (old !== undefined) faults.immutable("type", object["type"], object["type"] === old["type"]);
    validateImmutable(object, old, ["data"], faults);
  },
});

type Validation = NonNullable<Parameters<typeof builtIn>[0]["validate"]>;
type FaultsOf = Parameters<Validation>[2];

const KEY = /^[-._a-zA-Z0-9]{1,253}$/;
/** A ConfigMap or Secret holds at most this many bytes. */
const MOST_DATA = 1024 * 1024;

function validateKeys(object: Mapping, fields: readonly string[], faults: FaultsOf): void {
  let size = 0;
  for (const field of fields) {
    for (const [key, value] of Object.entries(mapping(object[field]))) {
      size += text(value).length;
      if (KEY.test(key) && key !== "." && key !== "..") continue;
      faults.invalid(
        `${field}[${key}]`,
        key,
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name')",
      );
    }
  }
  if (size > MOST_DATA) faults.tooLong("", `may not be more than ${MOST_DATA} bytes`);
}

function validateImmutable(
  object: Mapping,
  old: Mapping | undefined,
  fields: readonly string[],
  faults: FaultsOf,
): void {
  if (old?.["immutable"] !== true) return;
  if (object["immutable"] !== true)
    faults.forbidden("immutable", "field is immutable when `immutable` is set");
  for (const field of fields) {
    if (!equal(object[field], old[field])) {
      faults.forbidden(field, "field is immutable when `immutable` is set");
    }
  }
}

export const SERVICE_ACCOUNTS = builtIn({
  kind: "ServiceAccount",
  plural: "serviceaccounts",
  shortNames: ["sa"],
  namespaced: true,
  columns: [column.name, column.number("Secrets", (o) => items(o["secrets"]).length), AGE],
});

export const LEASES = builtIn({
  group: "coordination.k8s.io",
  kind: "Lease",
  plural: "leases",
  namespaced: true,
  columns: [column.name, column.text("Holder", (o) => at(o, "spec", "holderIdentity")), AGE],
  validate(object, _old, faults) {
    const { leaseDurationSeconds, leaseTransitions } = mapping(object["spec"]);
    if (typeof leaseDurationSeconds === "number" && leaseDurationSeconds <= 0) {
      faults.invalid("spec.leaseDurationSeconds", leaseDurationSeconds, "must be greater than 0");
    }
    faults.notNegative("spec.leaseTransitions", leaseTransitions);
  },
});

export const NETWORK_POLICIES = builtIn({
  group: "networking.k8s.io",
  kind: "NetworkPolicy",
  plural: "networkpolicies",
  shortNames: ["netpol"],
  namespaced: true,
  columns: [column.name, column.text("Pod-Selector", (o) => selectorText(at(o, "spec", "podSelector"))), AGE],
  prepare(object) {
    const spec = ensure(object, "spec");
    setDefault(spec, "podSelector", {});
    const egress = items(spec["egress"]).length > 0 ? ["Egress"] : [];
    setDefault(spec, "policyTypes", ["Ingress", ...egress]);
    for (const rule of [...mappings(spec["ingress"]), ...mappings(spec["egress"])]) {
      for (const port of mappings(rule["ports"])) setDefault(port, "protocol", "TCP");
    }
  },
  validate(object, _old, faults) {
    const spec = mapping(object["spec"]);
    validateSelector(spec["podSelector"], "spec.podSelector", faults);
    for (const [i, type] of items(spec["policyTypes"]).entries()) {
      faults.oneOf(`spec.policyTypes[${i}]`, type, ["Egress", "Ingress"]);
    }
    for (const [direction, side] of [
      ["ingress", "from"],
      ["egress", "to"],
    ] as const) {
      for (const [i, rule] of mappings(spec[direction]).entries()) {
        const path = `spec.${direction}[${i}]`;
        for (const [j, port] of mappings(rule["ports"]).entries())
          validatePolicyPort(port, `${path}.ports[${j}]`, faults);
        for (const [j, peer] of mappings(rule[side]).entries())
          validatePeer(peer, `${path}.${side}[${j}]`, faults);
      }
    }
  },
});

function validatePolicyPort({ protocol, port, endPort }: Mapping, path: string, faults: FaultsOf): void {
  faults.oneOf(`${path}.protocol`, protocol, ["SCTP", "TCP", "UDP"]);
  if (typeof port === "number") faults.range(`${path}.port`, port, 1, 65535);
  if (typeof port === "string" && !/^(?=.*[a-z])[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$/.test(port)) {
    faults.invalid(`${path}.port`, port, "must be a port number or the name of a port");
  }
  if (endPort === undefined) return;
  if (typeof port !== "number")
    faults.required(`${path}.port`, "must be specified, as a number, with endPort");
  else if (typeof endPort === "number" && endPort < port) {
    faults.invalid(`${path}.endPort`, endPort, "must be greater than or equal to `port`");
  }
}

function validatePeer(peer: Mapping, path: string, faults: FaultsOf): void {
  const block = mapping(peer["ipBlock"]);
  const selectors = ["podSelector", "namespaceSelector"].filter((field) => peer[field] !== undefined);
  for (const field of selectors) validateSelector(peer[field], `${path}.${field}`, faults);
  if (peer["ipBlock"] === undefined) {
    if (selectors.length === 0) faults.required(path, "must specify a peer");
    return;
  }
  if (selectors.length > 0) faults.forbidden(path, "may not specify both ipBlock and another peer");
  const prefixes = [
    ["cidr", block["cidr"]],
    ...items(block["except"]).map((e, i) => [`except[${i}]`, e]),
  ] as const;
  for (const [field, prefix] of prefixes) {
    if (field === "cidr" && text(prefix) === "") faults.required(`${path}.ipBlock.cidr`);
    else if (!FORMATS.cidr(text(prefix))) {
      faults.invalid(
        `${path}.ipBlock.${field}`,
        prefix,
        "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
      );
    }
  }
}

export const NODES = builtIn({
  kind: "Node",
  plural: "nodes",
  shortNames: ["no"],
  namespaced: false,
  status: "on-create",
  fields: { "spec.unschedulable": "false" },
  columns: [
    column.name,
    column.text("Status", (o) => {
      const ready = mappings(at(o, "status", "conditions")).find((c) => c["type"] === "Ready")?.["status"];
      const state = ready === undefined ? "Unknown" : ready === "True" ? "Ready" : "NotReady";
      return at(o, "spec", "unschedulable") === true ? `${state},SchedulingDisabled` : state;
    }),
    column.text("Roles", (o) => {
      const prefix = "node-role.kubernetes.io/";
      const roles = Object.keys(o.metadata.labels ?? {}).filter((l) => l.startsWith(prefix) && l !== prefix);
      return joined(roles.map((l) => l.slice(prefix.length)).sort());
    }),
    AGE,
    column.text("Version", (o) => at(o, "status", "nodeInfo", "kubeletVersion") ?? ""),
    column.text("Internal-IP", (o) => addressOf(o, "InternalIP"), 1),
    column.text("External-IP", (o) => addressOf(o, "ExternalIP"), 1),
    column.text("OS-Image", (o) => at(o, "status", "nodeInfo", "osImage") ?? "<unknown>", 1),
    column.text("Kernel-Version", (o) => at(o, "status", "nodeInfo", "kernelVersion") ?? "<unknown>", 1),
    column.text(
      "Container-Runtime",
      (o) => at(o, "status", "nodeInfo", "containerRuntimeVersion") ?? "<unknown>",
      1,
    ),
  ],
  validate(object, old, faults) {
    const spec = mapping(object["spec"]);
    const ranges = items(spec["podCIDRs"]);
    for (const [i, range] of ranges.entries()) {
      if (!FORMATS.cidr(text(range))) {
        faults.invalid(
          `spec.podCIDRs[${i}]`,
          range,
          "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        );
      }
    }
    if (ranges.length > 0 && spec["podCIDR"] !== undefined && ranges[0] !== spec["podCIDR"]) {
      faults.invalid("spec.podCIDRs[0]", ranges[0], "must be the same as spec.podCIDR");
    }
    const taints = new Set<string>();
    for (const [i, { key, value, effect }] of mappings(spec["taints"]).entries()) {
      const path = `spec.taints[${i}]`;
      faults.form(`${path}.key`, key, labelKeyFault);
      if (value !== undefined) faults.form(`${path}.value`, value, labelValueFault);
      faults.oneOf(`${path}.effect`, effect, ["NoSchedule", "PreferNoSchedule", "NoExecute"]);
      const pair = `${text(key)} ${text(effect)}`;
      if (taints.has(pair)) faults.duplicate(path, { key, effect });
      taints.add(pair);
    }
    const before = old === undefined ? undefined : at(old, "spec", "podCIDRs");
    if (before !== undefined && !equal(before, spec["podCIDRs"])) {
      faults.forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid');
    }
  },
  prepare(object) {
    const spec = ensure(object, "spec");
    if (spec["podCIDRs"] === undefined && text(spec["podCIDR"]) !== "") spec["podCIDRs"] = [spec["podCIDR"]];
    const [first] = items(spec["podCIDRs"]);
    if (first !== undefined) setDefault(spec, "podCIDR", first);
  },
});

const addressOf = (node: Mapping, type: string): string =>
  text(mappings(at(node, "status", "addresses")).find((a) => a["type"] === type)?.["address"]) || "<none>";
