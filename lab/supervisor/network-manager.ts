/**
 * What a machine's own network service does: when a link of the underlay comes up again, its addresses and the
 * routes over it are set again. The kernel drops IPv6 addresses and all routes of a link that goes down, and to
 * put these back is nobody's business inside Weft: they are the administrator's.
 */
import { describeError, type Logger } from "@weft/base";
import type { NetworkNamespace } from "@weft/kernel";
import { namedPath } from "@weft/kernel/netns";
import { openNamespace, watch } from "@weft/kernel/rtnetlink";
import { configureLink } from "../build.ts";
import type { LinkEnd, Topology } from "../topology.ts";

/** Until the returned function is called. A namespace that is gone is left out. */
export function manageUnderlay(plan: Topology, logger: Logger): () => void {
  const stops: (() => void)[] = [];
  const ends = plan.links.flatMap((l) => l.ends).filter((end) => end.addresses.length > 0);
  for (const [namespace, own] of Map.groupBy(ends, (end) => end.namespace)) {
    try {
      stops.push(manage(openNamespace(namedPath(namespace)), own, plan, logger));
    } catch (error) {
      logger.warn("an underlay namespace is not managed", { namespace, error: describeError(error) });
    }
  }
  return () => {
    for (const stop of stops) stop();
  };
}

function manage(
  handle: NetworkNamespace,
  ends: readonly LinkEnd[],
  plan: Topology,
  logger: Logger,
): () => void {
  // Down and up again can be one event's distance apart: whatever happened to a link that is up now, it gets
  // what it should have, and what it has already is no change and no event.
  const set = (end: LinkEnd): void => {
    try {
      if (handle.link(end.name)?.up === true) configureLink(handle, end, plan);
    } catch (error) {
      logger.warn("an underlay link cannot be set", { link: end.name, error: describeError(error) });
    }
  };
  const stop = watch(handle, (event) => {
    if (event.kind === "overflow") for (const end of ends) set(end);
    else if (event.kind === "link" && event.change === "set") {
      const end = ends.find((e) => e.name === event.link);
      if (end !== undefined) set(end);
    }
  });
  return () => {
    stop();
    handle.close();
  };
}
