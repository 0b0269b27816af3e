/**
 * Events, which two groups have: "" and events.k8s.io. They are the same objects under two sets of names; the core
 * group's is what is stored.
 */
import { builtIn, column, type Description } from "../resource.ts";
import { age } from "../table/duration.ts";
import { type ApiObject, at, clone, type Mapping, mapping, text } from "../values.ts";

/** Core group's field to that of events.k8s.io. */
const RENAMED: readonly (readonly [string, string])[] = [
  ["involvedObject", "regarding"],
  ["message", "note"],
  ["reportingComponent", "reportingController"],
  ["source", "deprecatedSource"],
  ["firstTimestamp", "deprecatedFirstTimestamp"],
  ["lastTimestamp", "deprecatedLastTimestamp"],
  ["count", "deprecatedCount"],
];

function renamed(
  object: ApiObject,
  apiVersion: string,
  pairs: readonly (readonly [string, string])[],
): ApiObject {
  const names = new Map(pairs);
  const entries = Object.entries(object).map(([field, value]) => [names.get(field) ?? field, value] as const);
  return { ...(Object.fromEntries(entries) as ApiObject), apiVersion };
}

const lastSeen = (event: Mapping, now: number): string => {
  const last = text(at(event, "series", "lastObservedTime")) || text(event["lastTimestamp"]);
  return age(last || text(event["eventTime"]) || text(event["firstTimestamp"]), now);
};

const objectText = (event: Mapping): string => {
  const { kind, name } = mapping(event["involvedObject"]);
  return `${text(kind).toLowerCase()}/${text(name)}`;
};

const common: Omit<Description, "columns"> = {
  kind: "Event",
  plural: "events",
  shortNames: ["ev"],
  namespaced: true,
  storage: "events",
};

const columns: Description["columns"] = [
  column.text("Last Seen", (e, now) => lastSeen(e, now)),
  column.text("Type", (e) => e["type"]),
  column.text("Reason", (e) => e["reason"]),
  column.text("Object", (e) => objectText(e)),
  column.text("Subobject", (e) => at(e, "involvedObject", "fieldPath") ?? "", 1),
  column.text("Source", (e) => sourceText(e), 1),
  column.text("Message", (e) => text(e["message"]).trim()),
  column.text("First Seen", (e, now) => age(text(e["firstTimestamp"]) || text(e["eventTime"]), now), 1),
  column.number("Count", (e) => at(e, "series", "count") ?? e["count"] ?? 1, 1),
  { ...column.name, priority: 1 },
];

function sourceText(event: Mapping): string {
  const component = text(at(event, "source", "component")) || text(event["reportingComponent"]);
  const host = text(at(event, "source", "host")) || text(event["reportingInstance"]);
  return host === "" ? component : `${component}, ${host}`;
}

export const EVENTS = builtIn({
  ...common,
  model: "CoreV1Event",
  columns,
  fields: {
    "involvedObject.kind": "",
    "involvedObject.namespace": "",
    "involvedObject.name": "",
    "involvedObject.uid": "",
    "involvedObject.apiVersion": "",
    "involvedObject.resourceVersion": "",
    "involvedObject.fieldPath": "",
    reason: "",
    reportingComponent: "",
    source: "",
    type: "",
  },
});

export const NEW_EVENTS = builtIn({
  ...common,
  group: "events.k8s.io",
  model: "EventsV1Event",
  columns: columns.map((c) => ({ ...c, value: (e: ApiObject, now: number) => c.value(toCore(e), now) })),
  fields: {
    "regarding.kind": "",
    "regarding.namespace": "",
    "regarding.name": "",
    "regarding.uid": "",
    "regarding.apiVersion": "",
    "regarding.resourceVersion": "",
    "regarding.fieldPath": "",
    reason: "",
    reportingController: "",
    type: "",
  },
  toStored: (event) => toCore(clone(event)),
  fromStored: (event) => renamed(event, "events.k8s.io/v1", RENAMED),
});

function toCore(event: ApiObject): ApiObject {
  return renamed(
    event,
    "v1",
    RENAMED.map(([core, other]) => [other, core] as const),
  );
}
