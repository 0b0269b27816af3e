/** Services: defaults, checks, columns. Their addresses and node ports are allocated in service-allocation.ts. */
import { label1035Fault, labelFault, subdomainFault } from "../../names.ts";
import type { Faults } from "../faults.ts";
import { builtIn, column } from "../resource.ts";
import { AGE, joined, selectorText } from "../table/cells.ts";
import {
  type ApiObject,
  at,
  ensure,
  equal,
  items,
  type Mapping,
  mapping,
  mappings,
  setDefault,
  text,
} from "../values.ts";
import { allocate, chooseFamilies, hasNodePorts, releaseAll } from "./service-allocation.ts";

const TYPES = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

export const SERVICES = builtIn({
  kind: "Service",
  plural: "services",
  shortNames: ["svc"],
  categories: ["all"],
  namespaced: true,
  status: true,
  nameFault: label1035Fault,
  fields: { "spec.clusterIP": "", "spec.type": "" },
  columns: [
    column.name,
    column.text("Type", (o) => at(o, "spec", "type")),
    column.text("Cluster-IP", (o) => at(o, "spec", "clusterIP") ?? "<none>"),
    column.text("External-IP", (o) => externalText(o)),
    column.text("Port(s)", (o) => portsText(o)),
    AGE,
    column.text("Selector", (o) => selectorText(at(o, "spec", "selector")), 1),
  ],

  prepare(service, old, { services }) {
    const spec = ensure(service, "spec");
    if (old === undefined) service["status"] = { loadBalancer: {} };
    defaultService(spec);
    if (old !== undefined) keepAllocated(spec, mapping(old["spec"]));
    chooseFamilies(spec, services);
  },

  validate: validateService,
  admit(service, old, tx, context) {
    allocate(service, old, tx, context.services);
  },
  release: releaseAll,
});

function defaultService(spec: Mapping): void {
  setDefault(spec, "type", "ClusterIP");
  setDefault(spec, "sessionAffinity", "None");
  if (spec["sessionAffinity"] === "ClientIP") {
    setDefault(ensure(ensure(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds", 10800);
  } else delete spec["sessionAffinityConfig"];
  if (spec["type"] !== "ExternalName") setDefault(spec, "internalTrafficPolicy", "Cluster");
  if (spec["type"] === "NodePort" || spec["type"] === "LoadBalancer") {
    setDefault(spec, "externalTrafficPolicy", "Cluster");
  } else if (items(spec["externalIPs"]).length === 0) delete spec["externalTrafficPolicy"];
  if (spec["type"] === "LoadBalancer") setDefault(spec, "allocateLoadBalancerNodePorts", true);
  else delete spec["allocateLoadBalancerNodePorts"];
  for (const port of mappings(spec["ports"])) {
    setDefault(port, "protocol", "TCP");
    if (port["targetPort"] === undefined || port["targetPort"] === 0) port["targetPort"] = port["port"];
    if (port["nodePort"] === 0 || !(spec["type"] === "NodePort" || spec["type"] === "LoadBalancer")) {
      if (port["nodePort"] === 0) delete port["nodePort"];
    }
  }
}

/** An update that says nothing of what was allocated keeps it. */
function keepAllocated(spec: Mapping, old: Mapping): void {
  if (spec["type"] === "ExternalName") {
    for (const field of [
      "clusterIP",
      "clusterIPs",
      "ipFamilies",
      "ipFamilyPolicy",
      "internalTrafficPolicy",
    ]) {
      if (equal(spec[field], old[field])) delete spec[field];
    }
    for (const port of mappings(spec["ports"])) dropKeptPort(port, old);
    return;
  }
  if (old["type"] !== "ExternalName") {
    for (const field of ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]) {
      if (spec[field] === undefined || equal(spec[field], [])) spec[field] = old[field];
      if (spec[field] === undefined) delete spec[field];
    }
  }
  if (!hasNodePorts(spec)) {
    for (const port of mappings(spec["ports"])) dropKeptPort(port, old);
    return;
  }
  for (const port of mappings(spec["ports"])) {
    const held = mappings(old["ports"]).find(
      (p) => p["port"] === port["port"] && p["protocol"] === port["protocol"],
    );
    if (port["nodePort"] === undefined && held?.["nodePort"] !== undefined)
      port["nodePort"] = held["nodePort"];
  }
}

function dropKeptPort(port: Mapping, old: Mapping): void {
  if (mappings(old["ports"]).some((p) => p["nodePort"] === port["nodePort"])) delete port["nodePort"];
}

function validateService(service: ApiObject, old: ApiObject | undefined, faults: Faults): void {
  const spec = mapping(service["spec"]);
  const { type } = spec;
  faults.oneOf("spec.type", type, TYPES);
  faults.oneOf("spec.sessionAffinity", spec["sessionAffinity"], ["ClientIP", "None"]);
  for (const field of ["internalTrafficPolicy", "externalTrafficPolicy"]) {
    if (spec[field] !== undefined) faults.oneOf(`spec.${field}`, spec[field], ["Cluster", "Local"]);
  }
  const headless = spec["clusterIP"] === "None";
  const ports = mappings(spec["ports"]);
  if (ports.length === 0 && !headless && type !== "ExternalName") faults.required("spec.ports");
  if (type === "ExternalName") {
    const name = text(spec["externalName"]).replace(/\.$/, "");
    if (name === "") faults.required("spec.externalName");
    else faults.form("spec.externalName", name, subdomainFault);
    if (spec["clusterIP"] !== undefined) {
      faults.forbidden("spec.clusterIPs[0]", "may not be set for ExternalName services");
    }
  }
  if (headless && (type === "NodePort" || type === "LoadBalancer")) {
    faults.invalid("spec.clusterIPs[0]", "None", `may not be set to 'None' for ${type} services`);
  }
  const seen = new Set<string>();
  const names = new Set<string>();
  for (const [i, port] of ports.entries()) {
    const path = `spec.ports[${i}]`;
    if (ports.length > 1 && text(port["name"]) === "") faults.required(`${path}.name`);
    if (port["name"] !== undefined && port["name"] !== "") {
      faults.form(`${path}.name`, port["name"], labelFault);
      if (names.has(text(port["name"]))) faults.duplicate(`${path}.name`, port["name"]);
      names.add(text(port["name"]));
    }
    faults.range(`${path}.port`, port["port"], 1, 65535);
    faults.oneOf(`${path}.protocol`, port["protocol"], ["SCTP", "TCP", "UDP"]);
    if (typeof port["targetPort"] === "number")
      faults.range(`${path}.targetPort`, port["targetPort"], 1, 65535);
    if (port["nodePort"] !== undefined && !hasNodePorts(spec) && type !== "LoadBalancer") {
      faults.forbidden(`${path}.nodePort`, "may not be used when `type` is 'ClusterIP'");
    }
    const key = `${text(port["protocol"])}/${String(port["port"])}`;
    if (seen.has(key)) faults.duplicate(path, { port: port["port"], protocol: port["protocol"] });
    seen.add(key);
  }
  for (const [key, value] of Object.entries(mapping(spec["selector"]))) {
    if (typeof value !== "string") faults.invalid(`spec.selector[${key}]`, value, "must be a string");
  }
  if (old !== undefined) validateAddresses(spec, mapping(old["spec"]), faults);
}

/** The first address never changes; a second one may come and go. */
function validateAddresses(spec: Mapping, old: Mapping, faults: Faults): void {
  if (spec["type"] === "ExternalName" || old["type"] === "ExternalName") return;
  if (spec["clusterIP"] !== old["clusterIP"] && old["clusterIP"] !== undefined) {
    faults.invalid("spec.clusterIPs[0]", spec["clusterIPs"] ?? spec["clusterIP"], "may not change once set");
  }
}

function externalText(service: ApiObject): string {
  const spec = mapping(service["spec"]);
  if (spec["type"] === "ExternalName") return text(spec["externalName"]);
  const given = mappings(at(service, "status", "loadBalancer", "ingress")).map(
    (i) => i["ip"] ?? i["hostname"],
  );
  const all = [...given, ...items(spec["externalIPs"])];
  return spec["type"] === "LoadBalancer" && all.length === 0 ? "<pending>" : joined(all);
}

const portsText = (service: ApiObject): string =>
  joined(
    mappings(at(service, "spec", "ports")).map(({ port, nodePort, protocol }) => {
      const outer = nodePort === undefined ? "" : `:${String(nodePort)}`;
      return `${String(port)}${outer}/${text(protocol)}`;
    }),
  );
