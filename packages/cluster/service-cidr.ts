/** ServiceCIDR (networking.k8s.io/v1) into the ranges that cluster addresses of services come from. */
import type { ServiceRange } from "@weft/model";
import { prefixOf } from "./addresses.ts";
import type { Field } from "./field.ts";
import { originOf, readMetadata } from "./metadata.ts";
import { type Notes, noteOthers } from "./unhonoured.ts";

export function readServiceCidr(object: Field, notes: Notes): ServiceRange[] {
  const metadata = readMetadata(object, notes);
  noteOthers(object, ["apiVersion", "kind", "metadata", "spec", "status"], [], notes);
  noteOthers(object.at("spec"), ["cidrs"], [], notes);
  const list = object.at("spec").at("cidrs");
  if (list.items().length === 0 && !list.present) list.required();
  return list.items().flatMap((item) => {
    const prefix = prefixOf(item);
    return prefix === undefined
      ? []
      : [{ prefix, origin: originOf("ServiceCIDR", metadata, false, item.text) }];
  });
}
