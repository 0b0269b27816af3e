/** Deployments and ReplicaSets. Nothing here acts on them: that is a controller's. */
import { below, type Faults } from "../faults.ts";
import { builtIn, type Column, column, type ScalePaths } from "../resource.ts";
import { AGE, containerImages, containerNames, selectorText } from "../table/cells.ts";
import { type ApiObject, at, ensure, equal, mapping, mappings, number, setDefault, text } from "../values.ts";
import { defaultPodSpec, validatePodSpec } from "./pod.ts";

const SCALE: ScalePaths = {
  specReplicas: ["spec", "replicas"],
  statusReplicas: ["status", "replicas"],
  selector: ["spec", "selector"],
};

const template = (object: ApiObject): unknown => at(object, "spec", "template", "spec");
const count = (name: string, ...path: readonly string[]): Column =>
  column.number(name, (object) => number(at(object, ...path)) ?? 0);

const WIDE: readonly Column[] = [
  column.text("Containers", (object) => containerNames(template(object)), 1),
  column.text("Images", (object) => containerImages(template(object)), 1),
  column.text("Selector", (object) => selectorText(at(object, "spec", "selector")), 1),
];

export const DEPLOYMENTS = builtIn({
  group: "apps",
  kind: "Deployment",
  plural: "deployments",
  shortNames: ["deploy"],
  categories: ["all"],
  namespaced: true,
  status: true,
  scale: SCALE,
  columns: [
    column.name,
    column.text("Ready", (object) => {
      const ready = number(at(object, "status", "readyReplicas")) ?? 0;
      return `${ready}/${number(at(object, "spec", "replicas")) ?? 0}`;
    }),
    count("Up-to-date", "status", "updatedReplicas"),
    count("Available", "status", "availableReplicas"),
    AGE,
    ...WIDE,
  ],

  prepare(object) {
    const spec = ensure(object, "spec");
    defaultWorkload(object);
    setDefault(spec, "revisionHistoryLimit", 10);
    setDefault(spec, "progressDeadlineSeconds", 600);
    const strategy = ensure(spec, "strategy");
    setDefault(strategy, "type", "RollingUpdate");
    if (strategy["type"] !== "RollingUpdate") return;
    const rolling = ensure(strategy, "rollingUpdate");
    setDefault(rolling, "maxSurge", "25%");
    setDefault(rolling, "maxUnavailable", "25%");
  },

  validate(object, old, faults) {
    validateWorkload(object, old, faults);
    const strategy = mapping(at(object, "spec", "strategy"));
    faults.oneOf("spec.strategy.type", strategy["type"], ["Recreate", "RollingUpdate"]);
    if (strategy["type"] === "Recreate" && strategy["rollingUpdate"] !== undefined) {
      faults.forbidden(
        "spec.strategy.rollingUpdate",
        "may not be specified when strategy `type` is 'Recreate'",
      );
    }
    const rolling = mapping(strategy["rollingUpdate"]);
    const none = (value: unknown): boolean => value === 0 || value === "0%";
    for (const field of ["maxSurge", "maxUnavailable"]) {
      validateShare(
        rolling[field],
        `spec.strategy.rollingUpdate.${field}`,
        field === "maxUnavailable",
        faults,
      );
    }
    const { minReadySeconds, progressDeadlineSeconds, revisionHistoryLimit } = mapping(object["spec"]);
    faults.notNegative("spec.revisionHistoryLimit", revisionHistoryLimit);
    faults.notNegative("spec.progressDeadlineSeconds", progressDeadlineSeconds);
    if ((number(progressDeadlineSeconds) ?? 0) <= (number(minReadySeconds) ?? 0)) {
      const detail = "must be greater than minReadySeconds";
      faults.invalid("spec.progressDeadlineSeconds", progressDeadlineSeconds, detail);
    }
    if (none(rolling["maxSurge"]) && none(rolling["maxUnavailable"])) {
      const detail = "may not be 0 when `maxSurge` is 0";
      faults.invalid("spec.strategy.rollingUpdate.maxUnavailable", rolling["maxUnavailable"], detail);
    }
  },
});

export const REPLICA_SETS = builtIn({
  group: "apps",
  kind: "ReplicaSet",
  plural: "replicasets",
  shortNames: ["rs"],
  categories: ["all"],
  namespaced: true,
  status: true,
  scale: SCALE,
  fields: { "status.replicas": "0" },
  columns: [
    column.name,
    count("Desired", "spec", "replicas"),
    count("Current", "status", "replicas"),
    count("Ready", "status", "readyReplicas"),
    AGE,
    ...WIDE,
  ],
  prepare: defaultWorkload,
  validate: validateWorkload,
});

/** A number of pods, or a share of them: "25%". */
function validateShare(value: unknown, field: string, ofAll: boolean, faults: Faults): void {
  if (typeof value === "number") faults.notNegative(field, value);
  if (typeof value !== "string") return;
  const percent = /^(\d{1,9})%$/.exec(value)?.[1];
  if (percent === undefined) {
    faults.invalid(field, value, "a valid percent string must be a numeric string followed by an ending '%'");
  } else if (ofAll && Number(percent) > 100) faults.invalid(field, value, "must not be greater than 100%");
}

function defaultWorkload(object: ApiObject): void {
  const spec = ensure(object, "spec");
  setDefault(spec, "replicas", 1);
  const pods = ensure(spec, "template");
  defaultPodSpec(ensure(pods, "spec"));
}

function validateWorkload(object: ApiObject, old: ApiObject | undefined, faults: Faults): void {
  const spec = mapping(object["spec"]);
  faults.notNegative("spec.replicas", spec["replicas"]);
  faults.notNegative("spec.minReadySeconds", spec["minReadySeconds"]);
  const selector = mapping(spec["selector"]);
  const labels = mapping(at(spec, "template", "metadata", "labels"));
  if (spec["selector"] === undefined) faults.required("spec.selector");
  else if (Object.keys(selector).length === 0) {
    faults.invalid("spec.selector", selector, `empty selector is invalid for ${object.kind.toLowerCase()}`);
  } else if (!selects(selector, labels)) {
    faults.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`");
  }
  if (at(spec, "template", "spec", "restartPolicy") !== "Always") {
    faults.oneOf("spec.template.spec.restartPolicy", at(spec, "template", "spec", "restartPolicy"), [
      "Always",
    ]);
  }
  validatePodSpec(mapping(at(spec, "template", "spec")), "spec.template.spec", faults);
  if (old !== undefined) {
    faults.immutable("spec.selector", selector, equal(selector, at(old, "spec", "selector")));
  }
}

/** Whether a label selector of the API selects these labels. */
export function selects(selector: Record<string, unknown>, labels: Record<string, unknown>): boolean {
  const plain = Object.entries(mapping(selector["matchLabels"]));
  if (!plain.every(([key, value]) => labels[key] === value)) return false;
  return mappings(selector["matchExpressions"]).every(({ key, operator, values }) => {
    const value = labels[text(key)];
    const among = Array.isArray(values) && values.includes(value);
    if (operator === "In") return among;
    if (operator === "NotIn") return !among;
    return (operator === "Exists") === (value !== undefined);
  });
}

/** Operators of the expressions of a label selector, and their values. */
export function validateSelector(selector: unknown, path: string, faults: Faults): void {
  for (const [i, { operator, values }] of mappings(mapping(selector)["matchExpressions"]).entries()) {
    const field = below(`${path}.matchExpressions`, i);
    faults.oneOf(`${field}.operator`, operator, ["In", "NotIn", "Exists", "DoesNotExist"]);
    const has = Array.isArray(values) && values.length > 0;
    if ((operator === "In" || operator === "NotIn") && !has) {
      faults.required(`${field}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
    }
    if ((operator === "Exists" || operator === "DoesNotExist") && has) {
      faults.forbidden(
        `${field}.values`,
        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
      );
    }
  }
}
