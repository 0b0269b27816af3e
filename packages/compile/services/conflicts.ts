/** Two services that want one address and port, or one port for their health checks: who has it, and who does not. */
import { type Problem, type Service, serviceName, serviceOrigin } from "@weft/model";
import type { ReadableTable } from "@weft/store";

/** Several services may say the same of an endpoint's address; what they cannot share is this. */
export const isContest = (key: string): boolean => /^(address|frontend|health) /.test(key);

/** One problem for each claimant of the key but the first, who has it. */
export function conflictProblems(
  key: string,
  claimants: readonly string[],
  services: ReadableTable<Service>,
): Problem[] {
  const [winner, ...losers] = claimants.flatMap((claimant) => services.get(claimant) ?? []);
  if (winner === undefined) return [];
  return losers.map((loser) => {
    const older = winner.created !== loser.created && winner.created !== "";
    return {
      key: `conflict ${key} ${serviceName(loser)}`,
      message:
        `${wantedText(key)} belongs to Service ${serviceName(winner)}, which ` +
        `${older ? "is older" : "comes first by name"}`,
      hint: "Give one of the two another address or port.",
      origin: serviceOrigin(loser),
    };
  });
}

/** "port 80/tcp of 192.0.2.7", "node port 30080/tcp", "health check port 31000". */
function wantedText(key: string): string {
  const [kind, ...rest] = key.split(" ");
  if (kind === "health") return `health check port ${rest[0]}`;
  if (kind === "address") return `cluster address ${rest[0]}`;
  const [address, ...match] = rest;
  if (address === "node") return `node port ${match[2]}/${match[1]} (IPv${match[0]})`;
  return `port ${match[1]}/${match[0]} of ${address}`;
}
