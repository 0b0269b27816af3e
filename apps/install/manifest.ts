/** Objects as YAML for people: each capability with its reason, nothing folded. */
import type { KubernetesObject } from "@weft/cluster/client";
import { stringify } from "yaml";
import { CAPABILITIES } from "./capabilities.ts";

/** Documents one after the other, separated by "---". */
export const manifestText = (objects: readonly KubernetesObject[]): string =>
  objects.map((object) => `---\n${objectText(object)}`).join("");

export const objectText = (object: KubernetesObject): string =>
  withReasons(stringify(object, { lineWidth: 0, aliasDuplicateObjects: false }));

/** Behind each capability of a list, what it is for. */
function withReasons(text: string): string {
  const reasons = new Map<string, string>(
    [...CAPABILITIES.place, ...CAPABILITIES.agent].map((c) => [c.name, c.why]),
  );
  return text.replaceAll(/^( *- )([A-Z_]+)$/gm, (line, _, name: string) => {
    const why = reasons.get(name);
    return why === undefined ? line : `${line} # ${why}`;
  });
}
