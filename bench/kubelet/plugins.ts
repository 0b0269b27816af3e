/**
 * What containerd measures of its network plugins: the time of setting up a sandbox's networks (ADD of the loopback and
 * of the list, with all plugins that this starts), as a sum and a count since its start.
 */
import { WeftError } from "@weft/base";
import { METRICS, type Node } from "@weft/e2e";

export interface Setups {
  readonly count: number;
  readonly seconds: number;
}

/** Named with its unit by some versions, without and with it twice by others. */
const METRIC = "network_plugin_operations_duration";
const OPERATION = "set_?up_pod";

export async function setupsSoFar({ machine }: Node): Promise<Setups> {
  return parseSetups(await machine.exec(["curl", "-sSf", `http://${METRICS}/v1/metrics`]));
}

/** From the text format of Prometheus. Nothing was set up yet when there is no such line. Throws "invalid". */
export function parseSetups(text: string): Setups {
  const value = (suffix: string): number => {
    const line = new RegExp(`^\\S*${METRIC}\\S*_${suffix}\\{[^}]*"${OPERATION}"[^}]*\\} (\\S+)$`, "m");
    const found = Number(line.exec(text)?.[1] ?? 0);
    if (Number.isFinite(found)) return found;
    throw new WeftError("invalid", `containerd's ${METRIC}_${suffix} is no number`);
  };
  return { count: value("count"), seconds: value("sum") };
}

export const setupsBetween = (before: Setups, after: Setups): Setups => ({
  count: after.count - before.count,
  seconds: after.seconds - before.seconds,
});
