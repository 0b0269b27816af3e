/** What every object says of itself: metadata, with the checks that all kinds share. */
import type { Origin } from "@weft/model";
import type { Field } from "./field.ts";
import { labelFault, labelKeyFault, labelValueFault, subdomainFault } from "./names.ts";
import { METADATA_INFORMATION, METADATA_KNOWN, type Notes, noteOthers } from "./unhonoured.ts";

/** Like a UUID, but whatever a writer chose, if it fits into a CNI argument and a file name. */
const UID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

export interface Metadata {
  /** Undefined when it is absent or malformed, which has been reported. */
  readonly name: string | undefined;
  readonly namespace: string;
  readonly uid: string | undefined;
  readonly labels: Readonly<Record<string, string>>;
}

/** Label of what another proxy than the cluster's own serves (KEP-2447); such a Service is not ours. */
export const PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name";
/** Label of what no proxy serves. */
export const HEADLESS_LABEL = "service.kubernetes.io/headless";

export function readMetadata(object: Field, notes: Notes): Metadata {
  const metadata = object.at("metadata");
  noteOthers(metadata, METADATA_INFORMATION, METADATA_KNOWN, notes);
  return {
    name: metadata.at("name").requiredString(subdomainFault),
    namespace: metadata.at("namespace").optionalString(labelFault) ?? "default",
    uid: metadata
      .at("uid")
      .optionalString((uid) => (UID.test(uid) ? undefined : "must be letters, digits, '-', '_' and '.'")),
    labels: readLabels(metadata.at("labels")),
  };
}

function readLabels(labels: Field): Readonly<Record<string, string>> {
  const entries: [string, string][] = [];
  for (const key of labels.keys()) {
    const why = labelKeyFault(key);
    if (why !== undefined) labels.at(key).fault(`Invalid value: ${JSON.stringify(key)}: ${why}`);
    const value = labels.at(key).optionalString(labelValueFault);
    entries.push([key, value ?? ""]);
  }
  return Object.fromEntries(entries);
}

/** The origin of a row that this field of the object asked for; without a field, the whole object did. */
export function originOf(kind: string, metadata: Metadata, namespaced: boolean, field?: string): Origin {
  return {
    kind,
    name: metadata.name ?? "",
    ...(namespaced ? { namespace: metadata.namespace } : {}),
    ...(metadata.uid === undefined ? {} : { uid: metadata.uid }),
    ...(field === undefined ? {} : { field }),
  };
}
