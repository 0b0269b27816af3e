/** What can be known of a cluster's addresses from where the command runs: the API, agents' sockets, or both. */
import { existsSync } from "node:fs";
import { VERSION } from "@weft/agent";
import {
  describeError,
  hasCode,
  isIp,
  isNotFound,
  type Prefix,
  parseIp,
  parsePrefix,
  WeftError,
} from "@weft/base";
import {
  type ApiClient,
  createClient,
  decodeBlock,
  decodePool,
  IP_BLOCKS,
  IP_POOLS,
  isInCluster,
  type KubernetesObject,
  listObjects,
  loadCredentials,
  NODES,
  PODS,
  pathOf,
  type Resource,
} from "@weft/cluster/client";
import type { ApiState, ClusterState, NodeFact, PodFact, PoolFact } from "@weft/ipam/inspect";
import { labPaths } from "@weft/lab";
import { type IpBlock, NETWORK_LABEL, type NodeAddresses } from "@weft/model";
import { SOCKET_PATH } from "@weft/plugin-weft";
import { type AgentAddress, askAgent, findAgents, labName, type Where } from "./agent-client.ts";

/** As long as agents are given. */
const API_ANSWER_MS = 10_000;

export interface IpamWhere extends Where {
  readonly kubeconfig?: string;
  readonly context?: string;
}

export interface Sources {
  readonly client: ApiClient | undefined;
  readonly agents: readonly AgentAddress[];
}

export interface Gathered {
  readonly state: ClusterState;
  /** Pools' forecasts, as the controller wrote them: "never" or a time. */
  readonly full: ReadonlyMap<string, string>;
  /** Sources that did not answer, one sentence each. */
  readonly errors: readonly string[];
}

/**
 * --socket: that agent alone. --lab: the agents of that lab, and its API. --kubeconfig, --context, KUBECONFIG or a pod's
 * service account: that API, and this node's agent where there is one. Otherwise this node's agent, or the only lab that is
 * up, or else the API of ~/.kube/config. Throws "unavailable".
 */
export function sourcesOf(where: IpamWhere): Sources {
  if (where.socket !== undefined) return { client: undefined, agents: findAgents(where) };
  if (where.lab !== undefined) return labSources(where.lab);
  const named = where.kubeconfig !== undefined || where.context !== undefined;
  const own: AgentAddress[] =
    process.getuid?.() === 0 && existsSync(SOCKET_PATH) ? [{ node: "", socket: SOCKET_PATH }] : [];
  // Of another cluster than the one that is named nobody wants to hear.
  if (named) return { client: apiClient(where), agents: [] };
  if (process.env["KUBECONFIG"] || isInCluster()) return { client: apiClient(where), agents: own };
  if (own.length > 0) return { client: undefined, agents: own };
  try {
    const lab = labName(where);
    if (lab !== undefined) return labSources(lab);
  } catch (error) {
    const client = apiOrNothing(where);
    if (client === undefined) throw error;
    return { client, agents: [] };
  }
  return { client: undefined, agents: own };
}

function labSources(lab: string): Sources {
  const agents = findAgents({ lab });
  const { kubeconfig } = labPaths(lab);
  const client = existsSync(kubeconfig) ? apiClient({ kubeconfig }) : undefined;
  return { client, agents };
}

const apiClient = ({ kubeconfig, context }: IpamWhere): ApiClient =>
  createClient({
    credentials: loadCredentials({
      ...(kubeconfig === undefined ? {} : { path: kubeconfig }),
      ...(context === undefined ? {} : { context }),
    }),
    userAgent: `weft-ipam/${VERSION}`,
    // Somebody waits at a terminal; what agents say is shown also without the API.
    retries: 0,
    timeout: API_ANSWER_MS,
  });

function apiOrNothing(where: IpamWhere): ApiClient | undefined {
  try {
    return apiClient(where);
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Asks all of them at once. Throws when none answers. */
export async function gather({ client, agents }: Sources): Promise<Gathered> {
  const errors: string[] = [];
  const failed: unknown[] = [];
  const [api, ...answers] = await Promise.allSettled([
    client === undefined ? undefined : readApi(client),
    ...agents.map((a) => askAgent<NodeAddresses>(a, "GET", "/v1/ipam")),
  ]);
  for (const result of [api, ...answers]) {
    if (result.status === "fulfilled") continue;
    failed.push(result.reason);
    errors.push(describeError(result.reason));
  }
  const found = api.status === "fulfilled" ? api.value : undefined;
  const nodes = answers.flatMap((a) => (a.status === "fulfilled" ? a.value : []));
  if (found === undefined && nodes.length === 0)
    throw (
      failed[0] ??
      new WeftError("unavailable", "there is nobody to ask", {
        hint: "Name a --kubeconfig, a --lab or a --socket.",
      })
    );
  const state: ClusterState = { now: Date.now(), api: found?.api, agents: nodes, unreachable: errors };
  return { state, full: found?.full ?? new Map(), errors };
}

async function readApi(client: ApiClient): Promise<{ api: ApiState; full: Map<string, string> }> {
  const faults: string[] = [];
  const full = new Map<string, string>();
  const all = <T>(resource: Resource, read: (object: KubernetesObject) => T): Promise<T[]> =>
    list(client, resource, (object) => {
      try {
        return [read(object)];
      } catch (error) {
        faults.push(`${resource.kind} ${object.metadata.name}: ${describeError(error)}`);
        return [];
      }
    });
  const [nodes, pods, pools, blocks] = await Promise.all([
    all(NODES, nodeFact),
    all(PODS, podFact),
    all(IP_POOLS, (object): PoolFact => {
      const text = fields(object["status"])["full"];
      if (typeof text === "string") full.set(object.metadata.name, text);
      return { ...decodePool(object), notReady: notReady(object) };
    }),
    all(IP_BLOCKS, (object): IpBlock => decodeBlock(object)),
  ]);
  return { api: { server: client.server, nodes, pods, pools, blocks, faults }, full };
}

/** None of a kind that the server does not have: a cluster without pools' definitions has no pools. */
async function list<T>(
  client: ApiClient,
  resource: Resource,
  read: (object: KubernetesObject) => T[],
): Promise<T[]> {
  let rows: T[] = [];
  try {
    await listObjects(
      { client, path: pathOf(resource) },
      {
        begin: () => {
          rows = [];
        },
        add: (object) => {
          rows.push(...read(object));
        },
      },
    );
  } catch (error) {
    if (!hasCode(error, "not-found")) throw error;
  }
  return rows;
}

type Fields = Readonly<Record<string, unknown>>;
const fields = (value: unknown): Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
const items = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

function nodeFact(object: KubernetesObject): NodeFact {
  const spec = fields(object["spec"]);
  const ranges = [...new Set([...items(spec["podCIDRs"]), spec["podCIDR"]])].flatMap((r) => text(r) ?? []);
  return {
    name: object.metadata.name,
    podCIDRs: ranges.map((r): Prefix => parsePrefix(r)),
    isOthers: fields(object.metadata["labels"])[NETWORK_LABEL] === "other",
  };
}

function podFact({ metadata, spec, status }: KubernetesObject): PodFact {
  const phase = fields(status)["phase"];
  const ips = items(fields(status)["podIPs"]).flatMap((p) => text(fields(p)["ip"]) ?? []);
  const created = Date.parse(text(metadata["creationTimestamp"]) ?? "");
  return {
    namespace: metadata.namespace ?? "default",
    name: metadata.name,
    uid: metadata.uid ?? "",
    node: text(fields(spec)["nodeName"]),
    hostNetwork: fields(spec)["hostNetwork"] === true,
    ended: phase === "Succeeded" || phase === "Failed",
    ips: ips.filter(isIp).map(parseIp),
    created: Number.isNaN(created) ? 0 : created,
  };
}

function notReady(object: KubernetesObject): string | undefined {
  const ready = items(fields(object["status"])["conditions"])
    .map(fields)
    .find((c) => c["type"] === "Ready");
  if (ready === undefined || ready["status"] === "True") return undefined;
  return `${text(ready["reason"]) ?? "NotReady"}: ${text(ready["message"]) ?? ""}`;
}
