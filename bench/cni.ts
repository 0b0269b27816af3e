/**
 * Pod ADD and DEL, Weft against the reference plugins: the same runtime, the same kernel, by turns.
 *
 *   alone     one ADD, then its DEL, the sides alternating
 *   burst     so many ADDs at once, then their DELs, the sides alternating
 *   memory    one more burst for each side, watched; not among the timed ones, as watching takes time
 */
import { type Peak, peakDuring } from "./cni/memory-watch.ts";
import { ALONE, measureRounds, restAfter } from "./cni/rounds.ts";
import { burst, podsIn, type Side } from "./cni/runner.ts";
import { describeMachine } from "./machine.ts";
import type { BenchOptions } from "./options.ts";
import type { Figure, Report } from "./report.ts";
import type { Session } from "./session/session.ts";
import { startBothSides } from "./sides/both.ts";
import { REFERENCE_PACKAGE, referenceName } from "./sides/bridge.ts";

export async function benchCni(
  session: Session,
  options: BenchOptions,
  say: (text: string) => void,
): Promise<Report> {
  const { sides, agent } = await startBothSides(session);
  const { rounds, namespaces, figures } = await measureRounds(
    session,
    options,
    sides.map((side) => ({ side, pods: podsIn, ...(side.name === "weft" && { agent }) })),
    say,
  );
  const peaks: Record<Side["name"], Peak> = { weft: await peakOf("weft"), peer: await peakOf("peer") };

  async function peakOf(name: Side["name"]): Promise<Peak> {
    await Bun.sleep(restAfter(options.burst));
    const side = sides.find((s) => s.name === name) as Side;
    const pods = podsIn(namespaces);
    const peak = await peakDuring(name === "weft" ? agent : undefined, () => burst("add", side, pods));
    await burst("del", side, pods);
    return peak;
  }

  return {
    suite: "cni",
    peer: referenceName(),
    figures: [...figures, ...memoryFigures(options.burst, peaks)],
    notes: [
      `${options.pods} pods on each side; IPv4; cniVersion 1.0.0; no port mappings`,
      `each percentile is the median of those of ${rounds} rounds; ${ALONE} operations alone in a round`,
      "time is from exec of the first plugin to the answer of the last; in a burst all are asked for at once",
      "CPU is of the plugins' processes and of the agent, until the agent is at rest again; other load changes it least",
      "resident memory counts the executable's pages once for each process; own memory is of no file",
      "Weft checks the source of every packet of a pod; the peer is set up without any filter",
    ],
    machine: describeMachine(session.weft, [REFERENCE_PACKAGE]),
    command: `node_modules/.bin/bun run bench/run.ts cni --pods ${options.pods} --burst ${options.burst} --rounds ${rounds}`,
    date: new Date().toISOString().slice(0, 10),
  };
}

function memoryFigures(size: number, { weft, peer }: Record<Side["name"], Peak>): Figure[] {
  const mib = (bytes: number): number => bytes / 2 ** 20;
  const figure = (name: string, a: number, b: number | undefined): Figure => ({
    name,
    unit: "MiB",
    weft: mib(a),
    peer: b === undefined ? undefined : mib(b),
    better: "lower",
  });
  return [
    figure(`burst of ${size}, plugins resident`, weft.resident, peer.resident),
    figure(`burst of ${size}, plugins own memory`, weft.anonymous, peer.anonymous),
    figure(`burst of ${size}, agent resident`, weft.agent, undefined),
    figure(`burst of ${size}, plugins and agent resident`, weft.resident + weft.agent, peer.resident),
    figure(
      `burst of ${size}, plugins and agent own memory`,
      weft.anonymous + weft.agentAnonymous,
      peer.anonymous,
    ),
    {
      name: `burst of ${size}, processes at the peak`,
      unit: "count",
      weft: weft.processes,
      peer: peer.processes,
      better: "lower",
    },
  ];
}
