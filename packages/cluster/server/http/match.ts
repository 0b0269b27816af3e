/** Which combinations of resourceVersion, resourceVersionMatch and sendInitialEvents mean something (API concepts, "Resource versions"). */
import { invalid, type ResourceName } from "../errors.ts";
import { Faults } from "../faults.ts";

const OPTIONS: ResourceName = { group: "meta.k8s.io", kind: "ListOptions", plural: "listoptions" };
const FIELD = "resourceVersionMatch";

/** Throws 422 for what contradicts itself: silence would give an answer to another question. */
export function checkMatch(query: URLSearchParams, watching: boolean): void {
  const faults = new Faults();
  if (watching) checkWatch(query, faults);
  else checkList(query, faults);
  if (faults.list.length > 0) throw invalid(OPTIONS, "", faults.list);
}

function checkList(query: URLSearchParams, faults: Faults): void {
  if (query.has("sendInitialEvents")) {
    faults.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
  }
  const match = query.get(FIELD) ?? "";
  if (match === "") return;
  const version = query.get("resourceVersion") ?? "";
  if (version === "") faults.forbidden(FIELD, `${FIELD} is forbidden unless resourceVersion is provided`);
  if ((query.get("continue") ?? "") !== "") faults.forbidden(FIELD, `${FIELD} is forbidden for continue`);
  faults.oneOf(FIELD, match, ["Exact", "NotOlderThan"]);
  if (match === "Exact" && version === "0") {
    faults.forbidden(FIELD, `${FIELD} "exact" is forbidden for resourceVersion "0"`);
  }
}

function checkWatch(query: URLSearchParams, faults: Faults): void {
  const match = query.get(FIELD) ?? "";
  const initial = query.get("sendInitialEvents");
  if (initial === null) {
    const detail = `${FIELD} is forbidden for watch unless sendInitialEvents is provided`;
    if (match !== "") faults.forbidden(FIELD, detail);
    return;
  }
  if (initial !== "true" && initial !== "false") {
    faults.invalid("sendInitialEvents", initial, "must be true or false");
  }
  if (match !== "NotOlderThan") {
    const detail = `sendInitialEvents requires setting ${FIELD} to NotOlderThan`;
    faults.forbidden(FIELD, detail);
  }
  if (initial === "true" && query.get("allowWatchBookmarks") !== "true") {
    faults.forbidden("allowWatchBookmarks", "sendInitialEvents requires setting allowWatchBookmarks");
  }
}
