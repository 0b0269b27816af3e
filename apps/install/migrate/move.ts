/**
 * Moves one node to Weft, or back to the network that it had:
 *
 *   to Weft   mark -> cordon, drain, taint -> label "weft" -> agent ready -> pods of before go -> uncordon, unmark
 *   back      mark -> cordon, drain, taint -> label "other" -> agent gone -> clean-up pod     -> uncordon, unmark
 *
 * The agents' DaemonSet leaves out nodes with the label "other", so that the label starts and ends an agent. An agent on a
 * node with the label "weft" sets other networks' configurations aside; the clean-up pod puts them back.
 *
 * Every step looks first whether it is done. Where the move is, is on the Node alone (labels.ts): whatever ends this in
 * the middle, the same command goes on; and while it is away, the node takes no pods, and all others work.
 */
import { WeftError } from "@weft/base";
import {
  type ApiClient,
  deleteObject,
  type KubernetesObject,
  NODES,
  PODS,
  updateWithRetry,
} from "@weft/cluster/client";
import { getIfThere, type NodeObject, podFault, podsOf } from "../observe.ts";
import { cleanNodes, forgetCondition, installedOptions } from "../uninstall.ts";
import { checkDrain, type DrainOptions, evict, isDriven, isMovable, podsOn } from "./drain.ts";
import { isLeaving, isReady, type PodFacts, readFacts } from "./facts.ts";
import { MOVE_ANNOTATION, MOVING_TAINT, type Move, moveText, NETWORK_LABEL } from "./labels.ts";
import { named, nodeRemarks, planMigration } from "./plan.ts";

export interface MoveOptions extends DrainOptions {
  readonly namespace: string;
  readonly to: Move["to"];
  /** Milliseconds for each step. */
  readonly timeout: number;
  readonly onStep: (text: string) => void;
  readonly every?: number;
}

export interface MoveReport {
  readonly node: string;
  readonly to: Move["to"];
  /** False: there was nothing to do. */
  readonly moved: boolean;
  /** Static pods, which have to be restarted on the node. */
  readonly keepOldNetwork: readonly string[];
}

/** Throws "not-found", "conflict" with what stands against it, "timeout" with what it waited for. */
export async function moveNode(options: MoveOptions): Promise<MoveReport> {
  const { client, node: name, to, namespace, onStep } = options;
  const facts = await readFacts(client, namespace);
  const node = facts.nodes.find((n) => n.name === name);
  if (node === undefined) {
    throw new WeftError("not-found", `there is no node ${name}`, {
      object: `Node ${name}`,
      hint: `These are there: ${facts.nodes.map((n) => n.name).join(", ") || "none"}.`,
    });
  }
  if (node.move === undefined && node.network === to) {
    const report = { node: name, to, moved: false, keepOldNetwork: [] };
    if (to === "other" || node.agent === "ready") return report;
  }
  if (node.move === undefined) {
    refuse(facts.installed, name, [
      ...planMigration(facts).remarks.filter((r) => r.node === undefined),
      ...nodeRemarks(node, facts),
    ]);
    if (node.network === undefined) throw notStarted(name);
    checkDrain(
      facts.pods.filter((p) => p.node === name && isMovable(p)),
      options,
    );
  } else if (node.move.to !== to) {
    throw new WeftError("conflict", `a move ${node.move.to === "weft" ? "to Weft" : "back"} is under way`, {
      object: `Node ${name}`,
      hint: `Complete it first: weft migrate ${node.move.to === "weft" ? "node" : "back"} ${name}`,
    });
  }
  const move = node.move ?? { to, cordoned: node.cordoned };
  await change(client, name, (draft) => {
    draft.metadata.annotations[MOVE_ANNOTATION] = moveText(move);
    draft.spec.unschedulable = true;
  });
  onStep("no new pods come");
  // An earlier run may have come further: pods that are there by then are those that the node is to have.
  if (node.network !== to) await drain(options);
  await change(client, name, (draft) => {
    draft.metadata.labels[NETWORK_LABEL] = to;
  });
  const since = to === "weft" ? await agentReady(options) : await cleaned(options);
  const left = await restartOld(options, since);
  await change(client, name, (draft) => {
    draft.spec.taints = draft.spec.taints.filter((t) => t["key"] !== MOVING_TAINT.key);
    draft.spec.unschedulable = move.cordoned;
    delete draft.metadata.annotations[MOVE_ANNOTATION];
  });
  onStep(move.cordoned ? "it stays cordoned, as it was" : "pods come again");
  return { node: name, to, moved: true, keepOldNetwork: left.map((p) => `${p.namespace}/${p.name}`) };
}

function refuse(installed: boolean, node: string, remarks: ReturnType<typeof nodeRemarks>): void {
  const blocks = remarks.filter((r) => r.weight === "blocks");
  const [first] = blocks;
  if (first !== undefined)
    throw new WeftError("conflict", blocks.map((r) => r.message).join("; "), {
      object: `Node ${node}`,
      hint: first.hint,
    });
  if (!installed)
    throw new WeftError("not-found", "Weft is not installed", {
      hint: "First: weft install --apply --no-wait",
    });
}

const notStarted = (node: string): WeftError =>
  new WeftError("conflict", `it has no label ${NETWORK_LABEL}: agents run on all such nodes`, {
    object: `Node ${node}`,
    hint: "First: weft migrate start",
  });

async function drain(options: MoveOptions): Promise<void> {
  const { client, node, onStep } = options;
  await waitFor(options, "pods have not left", async () => {
    const pods = (await podsOn(client, node)).filter(isMovable);
    const refused = await Promise.all(pods.map(async (pod) => [pod, await evict(pod, options)] as const));
    return refused.map(([p, why]) => `${p.namespace}/${p.name}${why === undefined ? "" : ` (${why})`}`);
  });
  await change(client, node, (draft) => {
    const others = draft.spec.taints.filter((t) => t["key"] !== MOVING_TAINT.key);
    draft.spec.taints = [...others, { ...MOVING_TAINT }];
  });
  await waitFor(options, "pods of DaemonSets have not left", async () =>
    (await podsOn(client, node)).filter(isDriven).map((p) => `${p.namespace}/${p.name}`),
  );
  onStep("its pods are gone");
}

/** Seconds since the epoch when the agent was started: pods from before it have the other network. */
async function agentReady(options: MoveOptions): Promise<number> {
  const { client, namespace, node, onStep } = options;
  let since = 0;
  await waitFor(options, "Weft's agent is not ready", async () => {
    const agents = (await podsOf(client, namespace, "agent")).filter(
      (p) => p.spec?.nodeName === node && !isLeaving(p),
    );
    const ready = agents.find(isReady);
    if (ready !== undefined) {
      since = Date.parse(String(ready.metadata["creationTimestamp"])) / 1000 || 0;
      return [];
    }
    if (agents.length === 0) return ["no agent was sent there"];
    return Promise.all(agents.map(async (p) => (await podFault(client, p)) ?? "not ready yet"));
  });
  await nodeReady(options);
  onStep("Weft serves its pods");
  return since;
}

async function cleaned(options: MoveOptions): Promise<number> {
  const { client, namespace, node, onStep } = options;
  await waitFor(options, "Weft's agent still runs", async () =>
    (await podsOf(client, namespace, "agent"))
      .filter((p) => p.spec?.nodeName === node)
      .map((p) => p.metadata.name),
  );
  const { timeout, every } = options;
  const scope = { client, namespace, timeout, force: false, ...(every === undefined ? {} : { every }) };
  await cleanNodes(scope, await installedOptions({ client, namespace, image: undefined }), [node]);
  const object = await getIfThere<NodeObject>(client, NODES, { name: node });
  if (object !== undefined) await forgetCondition(client, object);
  onStep("nothing of Weft is on it, and the former configuration is back");
  await nodeReady(options);
  return Math.floor(Date.now() / 1000);
}

async function nodeReady(options: MoveOptions): Promise<void> {
  const { client, node } = options;
  await waitFor(options, "the node is not Ready", async () => {
    const object = await getIfThere<NodeObject>(client, NODES, { name: node });
    if (object === undefined) {
      throw new WeftError("not-found", `node ${node} is gone`, {
        object: `Node ${node}`,
        hint: "Somebody has deleted it: when it is back, run this again.",
      });
    }
    return isReady(object) ? [] : [node];
  });
}

/** Pods that stayed in spite of everything have the old network: they are made anew. Gives those that cannot be. */
async function restartOld(options: MoveOptions, since: number): Promise<PodFacts[]> {
  const { client, node, onStep } = options;
  const old = (await podsOn(client, node)).filter((p) => p.started > 0 && p.started < since);
  const fixed = old.filter((p) => p.owner === "Node");
  const again = old.filter((p) => p.owner !== "Node");
  for (const { namespace, name } of again) await deleteObject(client, PODS, { namespace, name });
  if (again.length > 0) onStep(`pods that tolerate everything are made anew: ${named(again)}`);
  if (fixed.length > 0) onStep(`static pods have the old network until they are restarted: ${named(fixed)}`);
  return fixed;
}

interface Draft {
  readonly metadata: {
    readonly labels: Record<string, string>;
    readonly annotations: Record<string, string>;
  };
  readonly spec: { taints: Record<string, unknown>[]; unschedulable: boolean };
}

/** Changes a Node; nothing is written when nothing changes. */
export async function change(client: ApiClient, name: string, edit: (draft: Draft) => void): Promise<void> {
  await updateWithRetry<KubernetesObject>(client, NODES, { name }, (object) => {
    const { metadata } = object;
    const spec = (object["spec"] ?? {}) as { taints?: Record<string, unknown>[]; unschedulable?: boolean };
    const draft = {
      metadata: {
        labels: { ...(metadata["labels"] as Record<string, string> | undefined) },
        annotations: { ...(metadata["annotations"] as Record<string, string> | undefined) },
      },
      spec: { taints: [...(spec.taints ?? [])], unschedulable: spec.unschedulable === true },
    };
    const before = JSON.stringify(draft);
    edit(draft);
    if (JSON.stringify(draft) === before) return undefined;
    const { unschedulable, taints } = draft.spec;
    return {
      ...object,
      metadata: { ...metadata, ...draft.metadata },
      spec: { ...spec, taints, unschedulable },
    };
  });
}

/** Looks until nothing is left to wait for, and says what it is whenever that changes. Throws "timeout". */
async function waitFor(
  { timeout, onStep, node, every = 1000 }: MoveOptions,
  what: string,
  left: () => Promise<readonly string[]>,
): Promise<void> {
  const end = performance.now() + timeout;
  let told = "";
  for (;;) {
    const names = await left();
    if (names.length === 0) return;
    const line = `${what}: ${names.slice(0, 5).join(", ")}${names.length > 5 ? ` and ${names.length - 5} more` : ""}`;
    if (performance.now() > end) {
      throw new WeftError("timeout", line, {
        object: `Node ${node}`,
        hint: "Correct what is named, and run the same command again: it goes on from here. Wait longer with --timeout.",
      });
    }
    if (line !== told) onStep(line);
    told = line;
    await Bun.sleep(every);
  }
}
