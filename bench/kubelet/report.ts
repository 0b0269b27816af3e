/** The figures of all bursts of both sides. */
import { describeMachine, type Machine } from "../machine.ts";
import type { Figure, Report } from "../report.ts";
import { REFERENCE_PACKAGE, referenceName } from "../sides/bridge.ts";
import { median, medianPercentile, ratioQuartiles } from "../statistics.ts";
import type { Burst } from "./burst.ts";
import type { Options } from "./options.ts";

export type SideName = "weft" | "peer";
/** By round: both sides have as many. */
export type Bursts = Readonly<Record<SideName, readonly Burst[]>>;

export interface Versions {
  readonly kubernetes: string;
  readonly containerd: string;
}

export function reportOf(
  bursts: Bursts,
  { burst, rounds }: Options,
  executable: string,
  v: Versions,
): Report {
  const { versions, ...machine } = describeMachine(executable, [REFERENCE_PACKAGE]);
  const all: Machine["versions"] = [...versions, ["Kubernetes", v.kubernetes], ["containerd", v.containerd]];
  return {
    suite: "pods",
    peer: referenceName(),
    figures: figuresOf(bursts, burst),
    notes: [
      `${burst} pods created at once on the one node of a cluster; both families; no probe, no volume`,
      `medians over ${rounds} rounds; the clusters stand side by side and take turns`,
      "a pod's start is from its creation to Ready, as a client sees both",
      "ADD is what containerd measured for a sandbox's networks: the loopback's and the list's plugins, until the last answers",
      "the share is ADD's mean of the start's mean; kubelet asks for some pods at once, and they wait for one another",
      "Weft checks the source of every packet of a pod; the peer's node masquerades",
    ],
    machine: { ...machine, versions: all },
    command: `./bench/pods --burst ${burst} --rounds ${rounds}`,
    date: new Date().toISOString().slice(0, 10),
  };
}

export function figuresOf(bursts: Bursts, size: number): Figure[] {
  const figure = (name: string, unit: Figure["unit"], of: (side: readonly Burst[]) => number): Figure => {
    const each = (side: SideName): number[] => bursts[side].map((b) => of([b]));
    return {
      name,
      unit,
      weft: of(bursts.weft),
      peer: of(bursts.peer),
      better: "lower",
      quartiles: ratioQuartiles(each("weft"), each("peer")),
    };
  };
  const start = (p: number) => (side: readonly Burst[]) =>
    medianPercentile(
      side.map((b) => b.starts.map((ms) => ms / 1000)),
      p,
    );
  const middle = (of: (b: Burst) => number) => (side: readonly Burst[]) => median(side.map(of));
  return [
    figure("pod created to Ready, p50", "s", start(50)),
    figure("pod created to Ready, p99", "s", start(99)),
    figure(
      `burst of ${size}, all Ready`,
      "s",
      middle((b) => b.whole / 1000),
    ),
    figure(
      "ADD, mean",
      "ms",
      middle((b) => b.add),
    ),
    figure("ADD's share of a start", "%", middle(shareOf)),
  ];
}

/** Percent. */
export const shareOf = ({ add, starts }: Burst): number =>
  (100 * add * starts.length) / starts.reduce((sum, ms) => sum + ms, 0);
