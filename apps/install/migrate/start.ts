/** The beginning and the end of a migration: labels on all nodes, which say that Weft is not on them, and none any more. */
import { WeftError } from "@weft/base";
import type { ApiClient } from "@weft/cluster/client";
import { readFacts } from "./facts.ts";
import { NETWORK_LABEL } from "./labels.ts";
import { change } from "./move.ts";
import { stateOf } from "./plan.ts";

export interface LabelOptions {
  readonly client: ApiClient;
  readonly namespace: string;
  readonly onStep: (text: string) => void;
}

/** Labels nodes that have no label yet: agents keep off them. Throws "conflict" when Weft serves some of them already. */
export async function startMigration({
  client,
  namespace,
  onStep,
}: LabelOptions): Promise<readonly string[]> {
  const facts = await readFacts(client, namespace);
  const open = facts.nodes.filter((n) => n.network === undefined);
  const served = open.filter((n) => n.agent !== "none");
  if (served.length > 0) {
    throw new WeftError("conflict", `Weft runs already on ${served.map((n) => n.name).join(", ")}`, {
      hint: "A node that Weft serves needs no move. Where it does not serve it yet, uninstall first: weft uninstall --apply",
    });
  }
  for (const { name } of open) {
    await change(client, name, (draft) => {
      draft.metadata.labels[NETWORK_LABEL] = "other";
    });
    onStep(`Node ${name}: agents of Weft keep off`);
  }
  return open.map((n) => n.name);
}

/** Takes the labels away once all nodes are moved. Throws "conflict" with what is missing. */
export async function finishMigration({
  client,
  namespace,
  onStep,
}: LabelOptions): Promise<readonly string[]> {
  const facts = await readFacts(client, namespace);
  const left = facts.nodes.filter(
    (n) => n.move !== undefined || n.network === "other" || n.agent !== "ready",
  );
  if (left.length > 0) {
    const words = left.map(
      (n) => `${n.name} (${stateOf(n)}${n.agent === "ready" ? "" : `, agent ${n.agent}`})`,
    );
    throw new WeftError("conflict", `not all nodes are Weft's: ${words.join(", ")}`, {
      hint: "Move each with weft migrate node; weft migrate status shows all.",
    });
  }
  if (facts.networks.length > 0) {
    const objects = facts.networks.map((n) => n.object).join(", ");
    throw new WeftError("conflict", `the other network is still there: ${objects}`, {
      hint: "Delete it first: its pods would put its configuration back, and agents leave it there once the labels are gone.",
    });
  }
  const labelled = facts.nodes.filter((n) => n.network !== undefined);
  for (const { name } of labelled) {
    await change(client, name, (draft) => {
      delete draft.metadata.labels[NETWORK_LABEL];
    });
    onStep(`Node ${name}: label removed`);
  }
  return labelled.map((n) => n.name);
}
