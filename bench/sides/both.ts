/** Weft and the reference plugins, a node each: the same runtime adds pods to both. */
import { join } from "node:path";
import { macFromSeed, parseIp, parseIpWithLength } from "@weft/base";
import type { RealNamespace } from "@weft/kernel/rtnetlink";
import { createSide, type Side } from "../cni/runner.ts";
import type { Session } from "../session/session.ts";
import { referenceList, referencePlugins } from "./bridge.ts";
import { connect, startWeft } from "./weft.ts";

/** Of both nodes' pods. */
const RANGE = "10.244.0.0/20";

export interface BothSides {
  /** The agent's process. */
  readonly agent: number;
  readonly nodes: Readonly<Record<Side["name"], RealNamespace>>;
  /** Weft first. */
  readonly sides: readonly Side[];
}

/** Starts the agent; the reference plugins have none. Throws "timeout". */
export async function startBothSides(session: Session): Promise<BothSides> {
  const wire = session.node("wire");
  const weftNode = session.node("weft");
  connect(
    { namespace: weftNode, link: "eth0", address: parseIpWithLength("198.18.1.11/24") },
    { namespace: wire, link: "weft", address: parseIpWithLength("198.18.1.1/24") },
    macFromSeed,
  );
  const cluster = [{ name: "node1", address: parseIp("198.18.1.11"), podRange: RANGE }];
  const weft = await startWeft(session, "agent", weftNode, "node1", cluster);
  const peerNode = session.node("peer");
  return {
    agent: weft.agent.pid,
    nodes: { weft: weftNode, peer: peerNode },
    sides: [
      createSide({
        name: "weft",
        node: weftNode,
        list: weft.list,
        plugins: weft.plugins,
        cache: join(session.memory, "weft"),
      }),
      createSide({
        name: "peer",
        node: peerNode,
        list: referenceList(join(session.directory, "host-local"), RANGE),
        plugins: referencePlugins(),
        cache: join(session.memory, "peer"),
      }),
    ],
  };
}
