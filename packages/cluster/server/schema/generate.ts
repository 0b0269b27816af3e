/**
 * Makes kubernetes.json: the fields of Kubernetes' own types, from the models that the package
 * @kubernetes/client-node has of Kubernetes' published OpenAPI. The package is large and only this program needs it,
 * so it is no dependency:
 *
 *   npm pack @kubernetes/client-node@2.0.1 && tar xzf kubernetes-client-node-2.0.1.tgz
 *   bun run packages/cluster/server/schema/generate.ts package/dist/gen/models
 *
 * A type is a mapping from field to its form: "string", "int32", "int64", "double", "boolean", "date-time",
 * "int-or-string", "bytes", "any", or another type's name; "[]" before it is a list, "{}" a mapping from strings; "!"
 * after it says that the field must be there.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ROOTS = [
  "V1Namespace",
  "V1Node",
  "V1Pod",
  "V1Service",
  "V1ConfigMap",
  "V1Secret",
  "V1ServiceAccount",
  "CoreV1Event",
  "EventsV1Event",
  "V1Deployment",
  "V1ReplicaSet",
  "V1EndpointSlice",
  "V1NetworkPolicy",
  "V1ServiceCIDR",
  "V1Lease",
  "V1CustomResourceDefinition",
  "V1Scale",
  "V1Binding",
  "V1Eviction",
  "V1DeleteOptions",
];

interface Attribute {
  readonly name: string;
  readonly baseName: string;
  readonly type: string;
  readonly format: string;
}

const folder = process.argv[2];
if (folder === undefined) throw new Error("say where the models are; the head of this file has the commands");

const types: Record<string, Record<string, string>> = {};
const waiting = [...ROOTS];
for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
  if (types[name] !== undefined) continue;
  const found = /attributeTypeMap = (\[[\s\S]*?\n\]);/.exec(
    readFileSync(join(folder, `${name}.js`), "utf8"),
  )?.[1];
  if (found === undefined) throw new Error(`${name}.js has no attributeTypeMap`);
  const declared = readFileSync(join(folder, `${name}.d.ts`), "utf8");
  const fields: Record<string, string> = {};
  for (const attribute of JSON.parse(found) as Attribute[]) {
    const { form, refers } = formOf(attribute.type, attribute.format);
    const required = new RegExp(`^\\s*'${attribute.name}': `, "m").test(declared);
    fields[attribute.baseName] = `${form}${required ? "!" : ""}`;
    if (refers !== undefined) waiting.push(refers);
  }
  types[name] = fields;
}

function formOf(type: string, format: string): { form: string; refers?: string } {
  const list = /^(?:Array|Set)<(.*)>$/.exec(type)?.[1];
  if (list !== undefined) {
    const inner = formOf(list, format);
    return { ...inner, form: `[]${inner.form}` };
  }
  const mapping = /^\{ \[key: string\]: (.*); \}$/.exec(type)?.[1];
  if (mapping !== undefined) {
    const inner = formOf(mapping, format);
    return { ...inner, form: `{}${inner.form}` };
  }
  if (type === "IntOrString") return { form: "int-or-string" };
  if (type === "Date" || type === "V1MicroTime") return { form: "date-time" };
  if (type === "number") return { form: format };
  if (type === "string") return { form: format === "byte" ? "bytes" : "string" };
  if (type === "boolean" || type === "any") return { form: type };
  if (!/^[A-Z]\w+$/.test(type)) throw new Error(`what is the type ${type}?`);
  return { form: type, refers: type };
}

const sorted = Object.fromEntries(Object.entries(types).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(join(import.meta.dir, "kubernetes.json"), `${JSON.stringify(sorted, null, 2)}\n`);
