/** Operations of every kind of service row: all of them end in one table, each transaction of which is one call here. */
import { type FrontendRow, type ServicePlanKind, type ServicePlanRow, servicePlanKey } from "@weft/model";
import type { KindContext, KindOps, SharedContext } from "../kind.ts";
import { frontendMatches, type HeldFrontend, type HeldPlain } from "./held.ts";
import { encodeProfile, profileOf } from "./profile.ts";
import { ServiceTable } from "./table.ts";

type HeldOf<K extends ServicePlanKind> = K extends "frontend" ? HeldFrontend : HeldPlain;

const makeTable = ({ kernel, wanted }: SharedContext): ServiceTable =>
  new ServiceTable(kernel.nftables, wanted as () => Iterable<ServicePlanRow>);

const serviceOps =
  <K extends ServicePlanKind>(kind: K) =>
  (context: KindContext<K>): KindOps<K, HeldOf<K>> => {
    const table = context.shared(makeTable);
    const removal = (row: ServicePlanRow) => ({ kind, key: servicePlanKey(row) });
    return {
      update: (row) => table.apply([row], []),
      updateMany: (rows) => table.apply(rows, []),
      delete: (row) => table.apply([], [removal(row)]),
      deleteMany: (rows) => table.apply([], rows.map(removal)),
      actual: {
        revision: () => table.revision(),
        list: () => table.held(kind) as Iterable<HeldOf<K>>,
        keyOf: (held) => held.key,
        matches: (row, held) => (isFrontend(row) ? frontendMatches(row, held as HeldFrontend) : true),
        delete: (held) => table.apply([], [{ kind, key: held.key }]),
      },
      describe: (row, held) => (isFrontend(row) ? describe(row, held as HeldFrontend) : "differs"),
    };
  };

const isFrontend = (row: ServicePlanRow): row is FrontendRow => row.kind === "frontend";

function describe(row: FrontendRow, { profile, slots }: HeldFrontend): string {
  if (profile === undefined) return "is not connected to its backends";
  const wanted = profileOf(row);
  if (wanted.gate !== profile.gate) return `is ${profile.gate}, not ${wanted.gate}`;
  if (wanted.slots !== profile.slots) return `has ${profile.slots} slots, not ${wanted.slots}`;
  if (`${encodeProfile(wanted)}` !== `${encodeProfile(profile)}`) return "is treated otherwise";
  const filled = slots.filter((b) => b !== undefined).length;
  return filled === wanted.slots
    ? "has other backends or sources"
    : `has ${filled} backends, not ${wanted.slots}`;
}

export const frontendOps = serviceOps("frontend");
export const serviceAddressOps = serviceOps("service-address");
export const nodePortAddressOps = serviceOps("node-port-address");
export const hairpinOps = serviceOps("hairpin");
export const podRangeOps = serviceOps("pod-range");
export const nodeSourceOps = serviceOps("node-source");
