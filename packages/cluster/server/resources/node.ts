/** Node: its columns, its ranges, its taints. */
import { labelKeyFault, labelValueFault } from "../../names.ts";
import { builtIn, column } from "../resource.ts";
import { FORMATS } from "../schema/formats.ts";
import { AGE, joined } from "../table/cells.ts";
import { at, ensure, equal, items, type Mapping, mapping, mappings, setDefault, text } from "../values.ts";

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
