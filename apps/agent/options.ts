/** What `weft agent` is started with. Every path lies below --root, so that many nodes fit on one machine. */
import { hostname } from "node:os";
import { WeftError } from "@weft/base";
import { QUEUE_PATH, SOCKET_PATH } from "@weft/plugin-weft";

export interface AgentOptions {
  readonly node: string;
  readonly root: string;
  /** Directory of Node manifests. */
  readonly clusterDirectory: string;
  readonly settingsFile: string;
  readonly socket: string;
  readonly queue: string;
  readonly ledger: string;
  /** Copy of the settings in force: what counts when the file is invalid at the next start. */
  readonly lastSettings: string;
  readonly conflist: string;
  readonly binDirectory: string;
}

export interface AgentFlags {
  readonly node?: string;
  readonly root?: string;
  readonly cluster?: string;
  readonly settings?: string;
}

export function agentOptions(flags: AgentFlags): AgentOptions {
  const root = (flags.root ?? "/").replace(/\/+$/, "");
  if (root !== "" && !root.startsWith("/")) {
    throw new WeftError("invalid", `--root ${root} is no absolute path`, { hint: "Write it from / on." });
  }
  return {
    node: flags.node ?? hostname(),
    root,
    clusterDirectory: flags.cluster ?? `${root}/etc/weft/cluster`,
    settingsFile: flags.settings ?? `${root}/etc/weft/settings.yaml`,
    socket: `${root}${SOCKET_PATH}`,
    queue: `${root}${QUEUE_PATH}`,
    ledger: `${root}/var/lib/weft/ledger.sqlite`,
    lastSettings: `${root}/var/lib/weft/settings.json`,
    conflist: `${root}/etc/cni/net.d/10-weft.conflist`,
    binDirectory: `${root}/opt/cni/bin`,
  };
}
