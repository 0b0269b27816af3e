/** Pod (v1) into a Pod row. */
import { createHash } from "node:crypto";
import { ADDRESSES_ANNOTATION, type Container, POOLS_ANNOTATION, type Pod } from "@weft/model";
import { readAsks } from "./asks.ts";
import { expand } from "./expand.ts";
import type { Field } from "./field.ts";
import { type Metadata, originOf, readMetadata } from "./metadata.ts";
import { environmentNameFault, labelFault, subdomainFault } from "./names.ts";
import { unsupported } from "./node.ts";
import {
  CONTAINER_KNOWN,
  hasEffect,
  NETWORK_ANNOTATIONS,
  type Notes,
  noteOthers,
  POD_SPEC_KNOWN,
  PORT_KNOWN,
} from "./unhonoured.ts";

const PROTOCOLS = ["TCP", "UDP", "SCTP"];
const NO_CONTAINERS: readonly Container[] = [];
/** On the mirror pod that a kubelet makes of a static pod: the uid that it gives to the runtime. */
const STATIC_UID = "kubernetes.io/config.hash";
const MIRROR = "kubernetes.io/config.mirror";
/** Pools need an API server: a directory of manifests, whose notes are looked at, has none. */
const POOL_ANNOTATIONS: readonly string[] = [POOLS_ANNOTATION, ADDRESSES_ANNOTATION];
const RESTART_POLICIES = ["Always", "OnFailure", "Never"];

/** Without `containers` they are not looked at, and the row has none. */
export function readPod(object: Field, notes: Notes, containers = true): Pod {
  const metadata = readMetadata(object, notes);
  noteOthers(object, ["apiVersion", "kind", "metadata", "spec", "status"], [], notes);
  const annotations = object.at("metadata").at("annotations");
  for (const key of annotations.keys()) {
    if (NETWORK_ANNOTATIONS.includes(key) || POOL_ANNOTATIONS.includes(key))
      notes.unhonoured.push(annotations.at(key).text);
  }
  const spec = object.at("spec");
  const always = spec.at("restartPolicy").value === "Always" ? ["restartPolicy"] : [];
  noteOthers(spec, ["nodeName", "hostNetwork", "containers", ...always], POD_SPEC_KNOWN, notes);
  const restartPolicy = spec.at("restartPolicy").optionalString();
  if (restartPolicy !== undefined && !RESTART_POLICIES.includes(restartPolicy)) {
    spec.at("restartPolicy").fault(unsupported(restartPolicy, RESTART_POLICIES));
  }
  const node = spec.at("nodeName").optionalString((name) => (name === "" ? undefined : subdomainFault(name)));
  const uid = metadata.uid ?? derivedUid(metadata);
  // Pods from a file have the first annotation too; only a mirror is not known to the runtime by its own uid.
  const asks = readAsks(annotations.value, true);
  const hash = annotations.at(MIRROR).present ? annotations.at(STATIC_UID).value : undefined;
  return {
    namespace: metadata.namespace,
    name: metadata.name ?? "",
    uid,
    ...(typeof hash === "string" && hash !== "" && { runtimeUid: hash }),
    node: node === "" ? undefined : node,
    hostNetwork: spec.at("hostNetwork").boolean() ?? false,
    labels: metadata.labels,
    ...(asks === undefined ? {} : { asks }),
    containers: containers ? readContainers(spec.at("containers"), notes) : NO_CONTAINERS,
    origin: originOf("Pod", { ...metadata, uid }, true),
  };
}

function readContainers(list: Field, notes: Notes): Container[] {
  const items = list.items();
  if (items.length === 0 && (!list.present || Array.isArray(list.value))) list.required();
  const seen = new Set<string>();
  return items.map((item) => {
    const container = readContainer(item, notes);
    if (seen.has(container.name)) item.at("name").fault(`Duplicate value: ${JSON.stringify(container.name)}`);
    if (container.name !== "") seen.add(container.name);
    return container;
  });
}

function readContainer(field: Field, notes: Notes): Container {
  noteOthers(field, ["name", "image", "command", "args", "env", "ports"], CONTAINER_KNOWN, notes);
  readPorts(field.at("ports"), notes);
  const variables = readEnvironment(field.at("env"), notes);
  const command = strings(field.at("command"));
  const args = strings(field.at("args"));
  // An image's own entry point is not known here: args alone become the command, and that is said.
  if (command.length === 0 && args.length > 0)
    notes.unhonoured.push(`${field.at("args").text} without command`);
  return {
    name: field.at("name").requiredString(labelFault) ?? "",
    image: field.at("image").requiredString(imageFault) ?? "",
    command: [...command, ...args].map((text) => expand(text, variables)),
    environment: Object.fromEntries(variables),
  };
}

const imageFault = (image: string): string | undefined =>
  image === image.trim() ? undefined : "must not have leading or trailing whitespace";

function strings(list: Field): string[] {
  return list.items().map((item) => {
    if (!item.present) item.invalid("must be a string");
    return item.string() ?? "";
  });
}

function readEnvironment(list: Field, notes: Notes): ReadonlyMap<string, string> {
  const variables = new Map<string, string>();
  for (const item of list.items()) {
    noteOthers(item, ["name", "value"], ["valueFrom"], notes);
    const name = item.at("name").requiredString(environmentNameFault);
    const value = item.at("value").string() ?? "";
    if (hasEffect(item.at("valueFrom").value)) {
      if (value !== "")
        item
          .at("valueFrom")
          .fault("Invalid value: a mapping: may not be specified when `value` is not empty");
      continue;
    }
    if (name !== undefined) variables.set(name, expand(value, variables));
  }
  return variables;
}

/** Ports only inform: a container can be reached on every port that it listens on. */
function readPorts(list: Field, notes: Notes): void {
  for (const port of list.items()) {
    noteOthers(port, ["name", "containerPort", "protocol"], PORT_KNOWN, notes);
    port.at("name").optionalString((name) => (name === "" ? undefined : labelFault(name)));
    if (!port.at("containerPort").present) port.at("containerPort").required();
    port.at("containerPort").integer(1, 65535);
    const protocol = port.at("protocol").optionalString();
    if (protocol !== undefined && !PROTOCOLS.includes(protocol)) {
      port.at("protocol").fault(unsupported(protocol, PROTOCOLS));
    }
  }
}

/** The same for the same namespace and name, everywhere and always: a UUID of version 8 (RFC 9562 section 5.8). */
function derivedUid(metadata: Metadata): string {
  const b = createHash("sha256")
    .update(`weft pod ${metadata.namespace}/${metadata.name ?? ""}`)
    .digest()
    .subarray(0, 16);
  b[6] = ((b[6] as number) & 0x0f) | 0x80;
  b[8] = ((b[8] as number) & 0x3f) | 0x80;
  return b.toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
