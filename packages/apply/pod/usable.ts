/**
 * When an IPv6 address can be used. Even without duplicate address detection the kernel ends the making of an address
 * later, from a queue of its own (addrconf_dad_work): until then it is listed like any other, but has no route in the
 * local table, and packets to it are dropped. A container that starts before would lose its first answers.
 */
import { familyOf, prefixIp, WeftError } from "@weft/base";
import type { NetworkNamespace } from "@weft/kernel/port";

const TABLE_LOCAL = 255;
/** Longest wait, milliseconds. It takes some hundred microseconds on a machine that is not busy. */
const DEADLINE = 2000;
/** First the event loop's turns, which cost nothing, then milliseconds. */
const TURNS = 5;

/** Those of the addresses, all of this link, that packets would not reach yet. */
export function notUsableYet(ns: NetworkNamespace, link: string, addresses: readonly string[]): string[] {
  const six = addresses.filter((a) => familyOf(a) === 6);
  if (six.length === 0) return [];
  const local = ns.routes({ family: 6, table: TABLE_LOCAL, link });
  // The route of multicast comes with the first address: without it, this kernel does not show the local table.
  if (local.length === 0) return [];
  const reached = new Set<string>(
    local.filter((r) => r.type === "local").map((r) => prefixIp(r.destination)),
  );
  return six.filter((a) => !reached.has(prefixIp(a)));
}

/** Undefined when all of them are usable now; else resolves when they are. Rejects with "timeout". */
export function untilUsable(
  ns: NetworkNamespace,
  link: string,
  addresses: readonly string[],
): Promise<void> | undefined {
  if (notUsableYet(ns, link, addresses).length === 0) return undefined;
  return wait(ns, link, addresses);
}

async function wait(ns: NetworkNamespace, link: string, addresses: readonly string[]): Promise<void> {
  const end = performance.now() + DEADLINE;
  for (let tries = 0; ; tries++) {
    await (tries < TURNS ? new Promise((resolve) => setImmediate(resolve)) : Bun.sleep(1));
    const missing = notUsableYet(ns, link, addresses);
    if (missing.length === 0) return;
    if (performance.now() < end) continue;
    throw new WeftError("timeout", `the kernel has not made ${missing.join(" and ")} usable`, {
      object: `link ${link}`,
      hint: "The machine is very busy; it is tried again.",
    });
  }
}
