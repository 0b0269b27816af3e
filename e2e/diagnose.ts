/** What a failed case is explained with: pods, warnings, and the last words of every program. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import type { Cluster } from "./cluster.ts";
import { CHECKOUT, FAILURES } from "./paths.ts";

const LINES = 200;
const LOGS = ["--all-containers", "--prefix", `--tail=${LINES}`, "--max-log-requests=20"];

/** Writes it to a file and gives its path, from the checkout's root. */
export async function diagnose(cluster: Cluster, title: string): Promise<string> {
  mkdirSync(FAILURES, { recursive: true });
  const file = join(FAILURES, `${title.replaceAll(/[^a-z0-9]+/gi, "-").slice(0, 60)}.txt`);
  writeFileSync(file, await describeCluster(cluster));
  return relative(CHECKOUT, file);
}

async function describeCluster(cluster: Cluster): Promise<string> {
  const parts = [
    (await cluster.attempt(["get", "nodes,pods", "-A", "-o", "wide"])).stdout,
    lastLines((await cluster.attempt(["events", "-A", "--types=Warning"])).stdout),
    (await cluster.attempt(["logs", "-n", "weft-system", "-l", "app.kubernetes.io/name=weft", ...LOGS]))
      .stdout,
  ];
  for (const { machine } of [{ machine: cluster.controlPlane }, ...cluster.nodes]) {
    for (const service of machine.services.values()) {
      const state = service.running ? "runs" : "has ended";
      parts.push(`--- ${service.name} (${state})\n${service.tail(LINES)}`);
    }
  }
  return `${parts.map((p) => p.trimEnd()).join("\n\n")}\n`;
}

const lastLines = (text: string): string => text.trimEnd().split("\n").slice(-LINES).join("\n");
