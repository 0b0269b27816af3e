/**
 * What a lab leaves on disk, below /run/weft-lab/NAME (root only):
 *
 *   lab.json         options, boot, port            server/              data and socket of the API server
 *   processes.json   every process that was started kubeconfig           for users; agent.kubeconfig for agents
 *   lab.sock         control socket                 settings.yaml        settings of the agents
 *   supervisor.log   server.log, controller.log     manifests/           objects, unless a directory was given
 *   imported.json    what came from the manifests   nodes/NODE/          root of an agent, and its agent.log
 *   logs/NAMESPACE_POD/CONTAINER.log
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { replaceFile, WeftError } from "@weft/base";
import { type LabOptions, parseLabName, parseLabOptions } from "./options.ts";
import type { ProcessIdentity } from "./processes.ts";

export const LAB_DIRECTORY = "/run/weft-lab";

export interface LabPaths {
  readonly base: string;
  readonly record: string;
  readonly processes: string;
  readonly socket: string;
  readonly supervisorLog: string;
  /** --data of the API server. */
  readonly server: string;
  readonly serverLog: string;
  readonly controllerLog: string;
  /** The API, from every network namespace. */
  readonly apiSocket: string;
  readonly kubeconfig: string;
  readonly agentKubeconfig: string;
  readonly imported: string;
  readonly settings: string;
  readonly manifests: string;
  readonly logs: string;
  /** The --root of a node's agent. */
  node(name: string): string;
  agentLog(name: string): string;
  agentSocket(name: string): string;
  conflistDirectory(name: string): string;
  pluginDirectory(name: string): string;
  podLogs(namespace: string, pod: string): string;
}

export function labPaths(lab: string): LabPaths {
  const base = `${LAB_DIRECTORY}/${parseLabName(lab)}`;
  const node = (name: string): string => `${base}/nodes/${name}`;
  return {
    base,
    record: `${base}/lab.json`,
    processes: `${base}/processes.json`,
    socket: `${base}/lab.sock`,
    supervisorLog: `${base}/supervisor.log`,
    server: `${base}/server`,
    serverLog: `${base}/server.log`,
    controllerLog: `${base}/controller.log`,
    apiSocket: `${base}/server/server.sock`,
    kubeconfig: `${base}/kubeconfig`,
    agentKubeconfig: `${base}/agent.kubeconfig`,
    imported: `${base}/imported.json`,
    settings: `${base}/settings.yaml`,
    manifests: `${base}/manifests`,
    logs: `${base}/logs`,
    node,
    agentLog: (name) => `${node(name)}/agent.log`,
    agentSocket: (name) => `${node(name)}/run/weft/agent.sock`,
    conflistDirectory: (name) => `${node(name)}/etc/cni/net.d`,
    pluginDirectory: (name) => `${node(name)}/opt/cni/bin`,
    podLogs: (namespace, pod) => `${base}/logs/${namespace}_${pod}`,
  };
}

export interface LabRecord {
  readonly options: LabOptions;
  /** Boot that it was made in: after another one nothing of it is left but files. */
  readonly bootId: string;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  /** The underlay is complete: without it, `up` was ended in the middle. */
  readonly built: boolean;
  /** The weft executable that supervises it. */
  readonly executable: string;
  /** Port of the API server on 127.0.0.1, once it was chosen. */
  readonly apiPort?: number;
}

/** Kind of process, and what it is for: "node1", "default/echo-1 echo". */
export interface LabProcess extends ProcessIdentity {
  readonly kind: "supervisor" | "server" | "controller" | "agent" | "container";
  readonly name: string;
}

export function writeRecord(lab: string, record: LabRecord): void {
  replaceFile(labPaths(lab).record, `${JSON.stringify(record, null, 2)}\n`);
}

/** Undefined when there is no such lab. Throws "invalid" when the file is spoilt. */
export function readRecord(lab: string): LabRecord | undefined {
  const path = labPaths(lab).record;
  const value = readJson(path);
  if (value === undefined) return undefined;
  const { options, bootId, createdAt, built, executable, apiPort } = value as Partial<LabRecord>;
  if (
    typeof bootId !== "string" ||
    typeof createdAt !== "number" ||
    typeof built !== "boolean" ||
    typeof executable !== "string"
  ) {
    throw spoilt(path);
  }
  const port = Number.isInteger(apiPort) ? { apiPort: apiPort as number } : {};
  return { options: parseLabOptions(options), bootId, createdAt, built, executable, ...port };
}

/**
 * Words of the command lines of a lab's processes that are in no namespace of its own: by these they are found also when
 * nobody wrote them down, for no other lab has these paths.
 */
export function outsideCommands(lab: string): readonly (readonly string[])[] {
  const { server, agentKubeconfig } = labPaths(lab);
  return [
    ["server", "--data", server],
    ["controller", "--kubeconfig", agentKubeconfig],
  ];
}

/** Changes the record of a lab that has one. */
export function changeRecord(lab: string, change: Partial<LabRecord>): void {
  const record = readRecord(lab);
  if (record !== undefined) writeRecord(lab, { ...record, ...change });
}

export function writeProcesses(lab: string, processes: readonly LabProcess[]): void {
  replaceFile(labPaths(lab).processes, `${JSON.stringify(processes)}\n`);
}

/** Processes that were started; those that have ended may be among them. A spoilt file counts as empty. */
export function readProcesses(lab: string): LabProcess[] {
  let value: unknown;
  try {
    value = readJson(labPaths(lab).processes);
  } catch {
    return [];
  }
  if (!Array.isArray(value)) return [];
  return value.filter(
    (p: Partial<LabProcess>) =>
      Number.isSafeInteger(p?.pid) && typeof p.startTime === "string" && typeof p.kind === "string",
  );
}

/** Names of the labs that have a directory. */
export function listLabs(): string[] {
  try {
    return readdirSync(LAB_DIRECTORY, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
      .sort();
  } catch {
    return [];
  }
}

export function makeStateDirectory(lab: string): void {
  mkdirSync(LAB_DIRECTORY, { recursive: true, mode: 0o700 });
  mkdirSync(labPaths(lab).base, { recursive: true, mode: 0o700 });
}

export function removeStateDirectory(lab: string): void {
  rmSync(labPaths(lab).base, { recursive: true, force: true });
}

function readJson(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw new WeftError("permission", `cannot read ${path}`, { cause: error, hint: "Run as root." });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw spoilt(path, cause);
  }
}

const spoilt = (path: string, cause?: unknown): WeftError =>
  new WeftError("invalid", `${path} is not what a lab writes`, {
    cause,
    hint: "Remove what is left with weft lab down.",
  });
