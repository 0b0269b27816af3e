/**
 * What the design says of a packet's way, apart from the code that makes it so: which pairs lose what when one
 * thing is taken away. A pair fails when the way there or the way back does.
 *
 *   from        to a pod of            sent from            by
 *   pod         any node               its own address      tunnel, or directly inside a rack
 *   node        a tunnelled node       its tunnel address   tunnel
 *   node        a direct node          its own address      directly
 *   pod         a tunnelled node       its own address      tunnel
 *   node        a node                 its own address      the underlay
 */
import type { Topology } from "../../topology.ts";
import type { Endpoint, Report } from "./report.ts";

/** True if the pair fails. */
export type Loss = (from: Endpoint, to: Endpoint) => boolean;

const isPod = (e: Endpoint): boolean => e.kind === "pod";

/** The losses of one lab; `topology` says who is a neighbour of whom. */
export function lossesOf({ options, nodes }: Topology) {
  const rackOf = new Map(nodes.map((n) => [n.name, n.rack]));
  const tunnelled = (a: string, b: string): boolean =>
    a !== b && (options.backend === "vxlan" || rackOf.get(a) !== rackOf.get(b));
  /** Node in whose block the source of packets from `a` to `b` is; undefined: an address of the underlay. */
  const sourceBlock = (a: Endpoint, b: Endpoint): string | undefined =>
    isPod(a) || (isPod(b) && tunnelled(a.node, b.node)) ? a.node : undefined;
  const between = (a: Endpoint, b: Endpoint, one: string, other: string): boolean =>
    (a.node === one && b.node === other) || (a.node === other && b.node === one);
  const either =
    (loss: Loss): Loss =>
    (a, b) =>
      loss(a, b) || loss(b, a);

  return {
    /** `on` has no route to the block of `to`. */
    blockRoute(on: string, to: string): Loss {
      return (a, b) =>
        (a.node === on && isPod(b) && b.node === to) || (b.node === on && sourceBlock(a, b) === to);
    },
    /** The tunnel from one node to the other carries nothing, in one direction or both. */
    tunnel(one: string, other: string): Loss {
      return (a, b) => between(a, b, one, other) && tunnelled(one, other) && (isPod(a) || isPod(b));
    },
    /** Pods of `on` do not find the node `to` through the tunnel. */
    nodeRoute(on: string, to: string): Loss {
      return (a, b) => isPod(a) && a.node === on && b.node === to && !isPod(b);
    },
    /** The node sends from a wrong address to pods of `to`. */
    source(on: string, to: string): Loss {
      return (a, b) => !isPod(a) && a.node === on && isPod(b) && b.node === to;
    },
    /** What leaves `on` through the tunnel has its source translated. */
    masquerade(on: string): Loss {
      return (a, b) => isPod(a) && a.node === on && tunnelled(on, b.node);
    },
    /** `on` forwards nothing: its own traffic with its own pods is not forwarded. */
    forwarding(on: string): Loss {
      return either((a, b) => isPod(a) && a.node === on && a.name !== b.name && (isPod(b) || b.node !== on));
    },
    /** Nothing gets into the pod, or nothing out. */
    pod(name: string): Loss {
      return either((a, b) => a.name === name && b.name !== name);
    },
    /** Large packets between the pod and other pods. */
    podMtu(name: string): Loss {
      return either((a, b) => a.name === name && b.name !== name && isPod(a) && isPod(b));
    },
    /** Large packets from pods of `on` into the tunnel. */
    tunnelMtu(on: string): Loss {
      return (a, b) => isPod(a) && isPod(b) && a.node === on && tunnelled(on, b.node);
    },
    /** Large packets from pods of one rack to those of another. */
    rackMtu(from: string, to: string): Loss {
      return (a, b) => isPod(a) && isPod(b) && rackOf.get(a.node) === from && rackOf.get(b.node) === to;
    },
  };
}

/** What `failureTexts` must give: each pair that is lost, in each family that both have, with each probe. */
export function expectedFailures(
  { endpoints }: Report,
  families: readonly number[],
  probes: readonly string[],
  ...losses: readonly Loss[]
): string[] {
  const has = (e: Endpoint, family: number): boolean =>
    e.addresses.some((a) => a.includes(":") === (family === 6));
  const texts: string[] = [];
  for (const a of endpoints) {
    for (const b of endpoints) {
      if (!losses.some((loss) => loss(a, b))) continue;
      for (const family of families) {
        if (!has(a, family) || !has(b, family)) continue;
        for (const probe of probes) texts.push(`${a.name} -> ${b.name} IPv${family} ${probe}`);
      }
    }
  }
  return texts.sort();
}
