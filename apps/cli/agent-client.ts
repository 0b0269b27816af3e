/** Agents as the command line sees them: which ones there are, and what they answer. */
import { existsSync } from "node:fs";
import { WeftError } from "@weft/base";
import { labNodes, listLabs } from "@weft/lab";
import { SOCKET_PATH } from "@weft/plugin-weft";

export interface Where {
  /** Path of one agent's socket. */
  readonly socket?: string;
  /** Name of a lab: all of its agents. */
  readonly lab?: string;
}

export interface AgentAddress {
  readonly node: string;
  readonly socket: string;
}

/** --socket, --lab, or else this node's agent, or else the only lab that is up. Throws "unavailable". */
export function findAgents(where: Where): AgentAddress[] {
  if (where.socket !== undefined) return [{ node: "", socket: where.socket }];
  const lab = labName(where);
  if (lab === undefined) return [{ node: "", socket: SOCKET_PATH }];
  return labNodes(lab).map((n) => ({ node: n.name, socket: n.agentSocket }));
}

/** The lab that is meant; undefined: this node's own agent. */
export function labName(where: Where): string | undefined {
  if (where.lab !== undefined) return where.lab;
  if (process.getuid?.() !== 0) {
    throw new WeftError("permission", "agents and labs speak to root only", { hint: "Run this with sudo." });
  }
  if (existsSync(SOCKET_PATH)) return undefined;
  const labs = listLabs();
  if (labs.length === 1) return labs[0];
  throw new WeftError(
    "unavailable",
    labs.length === 0
      ? "there is no agent on this node, and no lab is up"
      : `several labs are up: ${labs.join(", ")}`,
    {
      hint: labs.length === 0 ? "Start a lab with: weft lab up" : "Name one with --lab.",
    },
  );
}

export async function askAgent<T>(
  agent: AgentAddress,
  method: "GET" | "POST",
  path: string,
  body?: unknown,
): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`http://weft${path}`, {
      unix: agent.socket,
      method,
      signal: AbortSignal.timeout(10_000),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch (error) {
    const denied = (error as { code?: string }).code === "EACCES";
    throw new WeftError(
      denied ? "permission" : "unavailable",
      `${agent.node === "" ? "the agent" : `the agent of ${agent.node}`} does not answer on ${agent.socket}`,
      {
        hint: denied ? "Run this as root." : "Is it running? A lab restarts its agents within a second.",
        cause: error,
      },
    );
  }
  const value: unknown = await response.json();
  if (response.ok) return value as T;
  throw new WeftError("unavailable", (value as { message: string }).message);
}
