/**
 * Makes wire.json: field numbers of Kubernetes' own types in protobuf, which Go clients write. They are part of the
 * published API, as tags of the types in the Go modules k8s.io/api and k8s.io/apimachinery:
 *
 *   bun run packages/cluster/server/protobuf/generate.ts MODULES/api@v0.34.4 MODULES/apimachinery@v0.34.4
 *
 * A type is a mapping from number to "NAME FORM": the field's name in JSON ("" when the fields of the inner type stand in
 * its place) and its form, a scalar, "time", "microtime", "int-or-string", "quantity", or a type. "[]" before it is a
 * list, "{}" a mapping. "?" at the end: a zero, or an empty list or mapping, is the same as absent, and JSON does not have it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [api, machinery] = process.argv.slice(2);
if (api === undefined || machinery === undefined) throw new Error("say where the two modules are");

const PACKAGES: Readonly<Record<string, string>> = {
  core: join(api, "core/v1/types.go"),
  apps: join(api, "apps/v1/types.go"),
  discovery: join(api, "discovery/v1/types.go"),
  networking: join(api, "networking/v1/types.go"),
  coordination: join(api, "coordination/v1/types.go"),
  events: join(api, "events/v1/types.go"),
  autoscaling: join(api, "autoscaling/v1/types.go"),
  policy: join(api, "policy/v1/types.go"),
  meta: join(machinery, "pkg/apis/meta/v1/types.go"),
};

const ROOTS =
  "core.Namespace core.Node core.Pod core.Service core.ConfigMap core.Secret core.ServiceAccount core.Event apps.Deployment apps.ReplicaSet discovery.EndpointSlice networking.NetworkPolicy networking.ServiceCIDR coordination.Lease events.Event autoscaling.Scale core.Binding policy.Eviction meta.DeleteOptions".split(
    " ",
  );

const SCALARS: Readonly<Record<string, string>> = {
  string: "string",
  bool: "bool",
  int32: "int32",
  int64: "int64",
  float64: "double",
  "[]byte": "bytes",
  "types.UID": "string",
  "types.NodeName": "string",
  "metav1.Time": "time",
  "meta.Time": "time",
  "metav1.MicroTime": "microtime",
  "intstr.IntOrString": "int-or-string",
  "resource.Quantity": "quantity",
};
/** Zero values of these are left out when their tag says so; of all others there is no zero, or it is shown. */
const WITH_ZERO = /^((string|bool|int32|int64|double|bytes)$|\[\]|\{\})/;

const structs = new Map<string, string>();
const aliases = new Map<string, string>();
for (const [name, file] of Object.entries(PACKAGES)) {
  const source = readFileSync(file, "utf8");
  for (const [, type, body] of source.matchAll(/^type (\w+) struct \{\n([\s\S]*?)^\}/gm)) {
    structs.set(`${name}.${type}`, body as string);
  }
  for (const [, type, as] of source.matchAll(/^type (\w+) ([\w[\].]+)$/gm)) {
    aliases.set(`${name}.${type}`, as as string);
  }
}

const types: Record<string, Record<string, string>> = {};
const waiting = [...ROOTS];
for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
  if (types[name] !== undefined) continue;
  const fields: Record<string, string> = {};
  types[name] = fields;
  const body = structs.get(name);
  if (body === undefined) throw new Error(`no struct ${name}`);
  for (const line of body.split("\n")) {
    const found = /^\s*(?:(\w+)\s+)?([\w.*[\]]+)\s+`json:"([^"]*)".*protobuf:"\w+,(\d+),/.exec(line);
    if (found === null) continue;
    const [, , go = "", tag = "", number = ""] = found;
    const [json = "", ...options] = tag.split(",");
    const pointer = go.startsWith("*");
    const form = formOf(go.replace(/^\*/, ""), name.split(".")[0] as string);
    if (form === undefined) continue;
    const inner = form.replace(/^(\[\]|\{\})/, "");
    if (inner.includes(".")) waiting.push(inner);
    const hidden = !pointer && options.includes("omitempty") && WITH_ZERO.test(form);
    fields[number] = `${json} ${form}${hidden ? "?" : ""}`;
  }
}

function formOf(go: string, home: string): string | undefined {
  const scalar = SCALARS[go];
  if (scalar !== undefined) return scalar;
  if (go.startsWith("[]")) return prefixed("[]", formOf(go.slice(2).replace(/^\*/, ""), home));
  const mapping = /^map\[[\w.]+\](.*)$/.exec(go)?.[1];
  if (mapping !== undefined) return prefixed("{}", formOf(mapping, home));
  const [outer, inner] = go.includes(".") ? (go.split(".") as [string, string]) : [home, go];
  const place = { metav1: "meta", v1: "core", corev1: "core" }[outer] ?? outer;
  const name = `${place}.${inner}`;
  if (SCALARS[name] !== undefined) return SCALARS[name];
  if (structs.has(name)) return inner === "FieldsV1" || inner === "ManagedFieldsEntry" ? undefined : name;
  const alias = aliases.get(name);
  if (alias === undefined) throw new Error(`what is ${name}?`);
  return formOf(alias, place);
}

function prefixed(prefix: string, form: string | undefined): string | undefined {
  return form === undefined ? undefined : `${prefix}${form}`;
}

const sorted = Object.fromEntries(Object.entries(types).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(join(import.meta.dir, "wire.json"), `${JSON.stringify(sorted, null, 2)}\n`);
