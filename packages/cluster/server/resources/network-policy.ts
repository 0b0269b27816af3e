/** NetworkPolicy: defaults, and what is wrong with its rules. */
import type { Faults } from "../faults.ts";
import { builtIn, column } from "../resource.ts";
import { FORMATS } from "../schema/formats.ts";
import { AGE, selectorText } from "../table/cells.ts";
import { at, ensure, items, type Mapping, mapping, mappings, setDefault, text } from "../values.ts";
import { validateSelector } from "./workloads.ts";

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

function validatePolicyPort({ protocol, port, endPort }: Mapping, path: string, faults: Faults): void {
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

function validatePeer(peer: Mapping, path: string, faults: Faults): void {
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
