/** What `weft agent` is started with. Every path lies below --root, so that many nodes fit on one machine. */
import { hostname } from "node:os";
import { WeftError } from "@weft/base";
import { isInCluster } from "@weft/cluster/client";
import { QUEUE_PATH, SOCKET_PATH } from "@weft/plugin-weft";
import type { ClusterSource } from "./cluster-source.ts";

export interface AgentOptions {
  readonly node: string;
  readonly root: string;
  readonly source: ClusterSource;
  readonly settingsFile: string;
  readonly socket: string;
  readonly queue: string;
  readonly ledger: string;
  /** Copy of the settings in force: what counts when the file is invalid at the next start. */
  readonly lastSettings: string;
  readonly conflist: string;
  /** The last known services of an API. */
  readonly servicesCopy: string;
  /** Where /proc/sys can be written, when not there. */
  readonly sysctls: string | undefined;
}

export interface AgentFlags {
  readonly node?: string;
  readonly root?: string;
  readonly cluster?: string;
  readonly kubeconfig?: string;
  readonly services?: string;
  readonly settings?: string;
  readonly sysctls?: string;
}

export function agentOptions(flags: AgentFlags): AgentOptions {
  const root = (flags.root ?? "/").replace(/\/+$/, "");
  if (root !== "" && !root.startsWith("/")) {
    throw new WeftError("invalid", `--root ${root} is no absolute path`, { hint: "Write it from / on." });
  }
  return {
    node: flags.node ?? hostname(),
    root,
    source: sourceOf(flags, root),
    settingsFile: flags.settings ?? `${root}/etc/weft/settings.yaml`,
    socket: `${root}${SOCKET_PATH}`,
    queue: `${root}${QUEUE_PATH}`,
    ledger: `${root}/var/lib/weft/ledger.sqlite`,
    lastSettings: `${root}/var/lib/weft/settings.json`,
    conflist: `${root}/etc/cni/net.d/10-weft.conflist`,
    servicesCopy: `${root}/var/lib/weft/services.sqlite`,
    sysctls: flags.sysctls,
  };
}

/** What is named; else the service account of the pod that this runs in; else a directory. */
function sourceOf({ cluster, kubeconfig, services }: AgentFlags, root: string): ClusterSource {
  if (cluster !== undefined && kubeconfig !== undefined) {
    throw new WeftError("invalid", "--cluster and --kubeconfig name two sources", {
      hint: "Give one of them.",
    });
  }
  if (cluster === undefined && (kubeconfig !== undefined || isInCluster())) {
    if (services !== undefined) {
      throw new WeftError(
        "invalid",
        "--services names a directory, and services come from the Kubernetes API",
        {
          hint: "Leave it out, or give --cluster as well.",
        },
      );
    }
    return { kind: "kubernetes", kubeconfig, copy: `${root}/var/lib/weft/cluster.json` };
  }
  const directory = cluster ?? `${root}/etc/weft/cluster`;
  return { kind: "directory", directory, services: services ?? directory };
}
