/** The files that a lab gives its agents and its supervisor. */
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { replaceFile, WeftError } from "@weft/base";
import type { LabOptions } from "./options.ts";
import { SAMPLES } from "./samples.ts";
import { labPaths, makeStateDirectory } from "./state.ts";
import type { Topology } from "./topology.ts";

/** The same options with the absolute path of the manifests. Throws "not-found" when it is no directory. */
export function withAbsoluteManifests(options: LabOptions): LabOptions {
  if (options.manifests === undefined) return options;
  const manifests = resolve(options.manifests);
  if (!statSync(manifests, { throwIfNoEntry: false })?.isDirectory()) {
    throw new WeftError("not-found", `--manifests ${manifests} is not a directory`, {
      object: manifests,
      hint: "Name a directory with Pod manifests (*.yaml).",
    });
  }
  return { ...options, manifests };
}

/** Writes settings, and the sample manifests where no directory was given. */
export function writeFiles(plan: Topology): void {
  const { options } = plan;
  const paths = labPaths(options.name);
  makeStateDirectory(options.name);
  for (const directory of [paths.manifests, paths.logs]) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }
  for (const node of plan.nodes) mkdirSync(paths.node(node.name), { recursive: true, mode: 0o700 });
  replaceFile(paths.settings, settingsText(plan));
  if (options.manifests === undefined) {
    for (const { file, text } of SAMPLES) writeFileSync(`${paths.manifests}/${file}`, text, { mode: 0o600 });
  }
}

/** A unix socket is the only thing that an agent in a network namespace can reach; it asks for no credentials. */
export function writeAgentKubeconfig(lab: string): void {
  const { agentKubeconfig, apiSocket } = labPaths(lab);
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "lab", cluster: { server: `unix://${apiSocket}` } }],
    contexts: [{ name: "lab", context: { cluster: "lab", user: "" } }],
    "current-context": "lab",
  };
  replaceFile(agentKubeconfig, `${JSON.stringify(config)}\n`);
}

/** Settings of the agents as YAML. */
export function settingsText({ options, clusterRanges }: Topology): string {
  return [
    `backend: ${options.backend}`,
    "clusterCIDRs:",
    ...clusterRanges.map((range) => `  - "${range}"`),
    "",
  ].join("\n");
}
