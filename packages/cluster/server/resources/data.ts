/** ConfigMap and Secret: keys, sizes, and what must not change. */
import type { Faults } from "../faults.ts";
import { builtIn, column } from "../resource.ts";
import { AGE } from "../table/cells.ts";
import { ensure, equal, type Mapping, mapping, setDefault, text } from "../values.ts";

export const CONFIG_MAPS = builtIn({
  kind: "ConfigMap",
  plural: "configmaps",
  shortNames: ["cm"],
  namespaced: true,
  columns: [
    column.name,
    column.number(
      "Data",
      (o) => Object.keys(mapping(o["data"])).length + Object.keys(mapping(o["binaryData"])).length,
    ),
    AGE,
  ],
  validate(object, old, faults) {
    validateKeys(object, ["data", "binaryData"], faults);
    for (const key of Object.keys(mapping(object["data"]))) {
      if (!Object.hasOwn(mapping(object["binaryData"]), key)) continue;
      faults.invalid(`data[${key}]`, key, "duplicate of key present in binaryData");
    }
    validateImmutable(object, old, ["data", "binaryData"], faults);
  },
});

/** What a Secret of a type must have. */
const NEEDED_KEYS: Readonly<Record<string, readonly string[]>> = {
  "kubernetes.io/tls": ["tls.crt", "tls.key"],
  "kubernetes.io/dockerconfigjson": [".dockerconfigjson"],
  "kubernetes.io/dockercfg": [".dockercfg"],
  "kubernetes.io/ssh-auth": ["ssh-privatekey"],
};

export const SECRETS = builtIn({
  kind: "Secret",
  plural: "secrets",
  namespaced: true,
  fields: { type: "" },
  columns: [
    column.name,
    column.text("Type", (o) => o["type"]),
    column.number("Data", (o) => Object.keys(mapping(o["data"])).length),
    AGE,
  ],
  prepare(object) {
    setDefault(object, "type", "Opaque");
    const plain = Object.entries(mapping(object["stringData"]));
    delete object["stringData"];
    if (plain.length === 0) return;
    const data = ensure(object, "data");
    for (const [key, value] of plain) data[key] = Buffer.from(text(value)).toString("base64");
  },
  validate(object, old, faults) {
    validateKeys(object, ["data"], faults);
    for (const key of NEEDED_KEYS[text(object["type"])] ?? []) {
      if (mapping(object["data"])[key] === undefined) faults.required(`data[${key}]`);
    }
    if (old !== undefined) faults.immutable("type", object["type"], object["type"] === old["type"]);
    validateImmutable(object, old, ["data"], faults);
  },
});

const KEY = /^[-._a-zA-Z0-9]{1,253}$/;
/** A ConfigMap or Secret holds at most this many bytes. */
const MOST_DATA = 1024 * 1024;

function validateKeys(object: Mapping, fields: readonly string[], faults: Faults): void {
  let size = 0;
  for (const field of fields) {
    for (const [key, value] of Object.entries(mapping(object[field]))) {
      size += text(value).length;
      if (KEY.test(key) && key !== "." && key !== "..") continue;
      faults.invalid(
        `${field}[${key}]`,
        key,
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name')",
      );
    }
  }
  if (size > MOST_DATA) faults.tooLong("", `may not be more than ${MOST_DATA} bytes`);
}

function validateImmutable(
  object: Mapping,
  old: Mapping | undefined,
  fields: readonly string[],
  faults: Faults,
): void {
  if (old?.["immutable"] !== true) return;
  if (object["immutable"] !== true)
    faults.forbidden("immutable", "field is immutable when `immutable` is set");
  for (const field of fields) {
    if (!equal(object[field], old[field])) {
      faults.forbidden(field, "field is immutable when `immutable` is set");
    }
  }
}
