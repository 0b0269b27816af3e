/** Resources that hardly need more than their columns. */
import { labelFault } from "../../names.ts";
import { builtIn, column } from "../resource.ts";
import { AGE } from "../table/cells.ts";
import { at, items, mapping } from "../values.ts";

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
