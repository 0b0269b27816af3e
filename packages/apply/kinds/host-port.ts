/** Elements of the table of host ports: where ports of the node lead to, and which pods may come to themselves. */
import { type Family, familyOf, type IpAddress } from "@weft/base";
import type { SetElement, SetField } from "@weft/kernel/port";
import {
  ANY_ADDRESS,
  type HostPortHairpinRow,
  type HostPortRow,
  hostPortText,
  isAnyAddress,
} from "@weft/model";
import { HOST_PORTS_SKELETON, HOST_PORTS_TABLE } from "../host-ports.ts";
import type { KindContext, KindOps } from "../kind.ts";

const FAMILIES: readonly Family[] = [4, 6];
/** IANA's numbers of protocols. */
const NUMBERS: Readonly<Record<HostPortRow["protocol"], number>> = { tcp: 6, udp: 17, sctp: 132 };

interface HeldPort {
  readonly map: string;
  readonly element: SetElement;
  readonly key: string;
  /** "10.244.1.5:80" */
  readonly target: string;
}

const mapOf = (ip: IpAddress): string => `${isAnyAddress(ip) ? "any" : "addressed"}${familyOf(ip)}`;
const KEY: Readonly<Record<"any" | "addressed", readonly SetField["type"][]>> = {
  any: ["protocol", "port"],
  addressed: ["ip", "protocol", "port"],
};

const elementOf = (row: HostPortRow): SetElement => ({
  key: [
    ...(isAnyAddress(row.address) ? [] : [{ type: "ip", value: row.address } as const]),
    { type: "protocol", value: NUMBERS[row.protocol] },
    { type: "port", value: row.port },
  ],
  value: [
    { type: "ip", value: row.target },
    { type: "port", value: row.targetPort },
  ],
});

const text = (fields: readonly SetField[] | undefined): string =>
  (fields ?? []).map((f) => f.value).join(" . ");
const inScript = (row: HostPortRow): string => {
  const { key, value } = elementOf(row);
  return `add element inet ${HOST_PORTS_TABLE} ${mapOf(row.address)} { ${text(key)} : ${text(value)} }\n`;
};

export function hostPortOps({
  kernel,
  table,
  skeletons,
}: KindContext<"host-port">): KindOps<"host-port", HeldPort> {
  const { nftables } = kernel;
  const add = (rows: readonly HostPortRow[]): void => {
    for (const [map, some] of Map.groupBy(rows, (row) => mapOf(row.address)))
      nftables.addElements("inet", HOST_PORTS_TABLE, map, some.map(elementOf));
  };
  const remove = (rows: readonly HostPortRow[]): void => {
    for (const [map, some] of Map.groupBy(rows, (row) => mapOf(row.address)))
      nftables.deleteElements("inet", HOST_PORTS_TABLE, map, some.map(keyAlone));
  };
  const held = (name: "any" | "addressed", family: Family): HeldPort[] => {
    const map = `${name}${family}`;
    return nftables
      .elements("inet", HOST_PORTS_TABLE, map, KEY[name], family, ["ip", "port"])
      .map((element) => ({ map, element, key: keyOf(element, family), target: text(element.value) }));
  };
  const keeper = skeletons.join(HOST_PORTS_SKELETON, () => [...table.rows()].map(inScript).join(""));
  return {
    update: (row) => keeper.put(() => add([row])),
    updateMany: (rows) => keeper.put(() => add(rows)),
    delete: (row) => keeper.take(() => remove([row])),
    deleteMany: (rows) => keeper.take(() => remove(rows)),
    actual: {
      // Few on any node: all are read, whichever are asked for. Without the skeleton nothing is held.
      list: () =>
        keeper.stands() ? FAMILIES.flatMap((f) => [...held("any", f), ...held("addressed", f)]) : [],
      keyOf: (h) => h.key,
      matches: (row, h) => h.target === text(elementOf(row).value),
      delete: (h) => nftables.deleteElements("inet", HOST_PORTS_TABLE, h.map, [{ key: h.element.key }]),
    },
    describe: (row, h) => `leads to ${h.target}, not ${text(elementOf(row).value)}`,
  };
}

const keyAlone = (row: HostPortRow): SetElement => ({ key: elementOf(row).key });

/** The key of the row that such an element would be. A protocol that none is for is written by its number. */
function keyOf({ key }: SetElement, family: Family): string {
  let address: IpAddress = ANY_ADDRESS[family];
  let protocol = "";
  let port = 0;
  for (const field of key) {
    if (field.type === "ip") address = field.value;
    else if (field.type === "port") port = field.value;
    else if (field.type === "protocol") protocol = nameOf(field.value);
  }
  return hostPortText(address, port, protocol);
}

const nameOf = (number: number): string =>
  Object.entries(NUMBERS).find(([, n]) => n === number)?.[0] ?? String(number);

interface HeldHairpin {
  readonly family: Family;
  readonly element: SetElement;
}

export function hostPortHairpinOps({
  kernel,
  table,
  skeletons,
}: KindContext<"host-port-hairpin">): KindOps<"host-port-hairpin", HeldHairpin> {
  const { nftables } = kernel;
  const setOf = (family: Family): string => `hairpins${family}`;
  const hairpin = ({ ip }: HostPortHairpinRow): SetElement => ({
    key: [
      { type: "ip", value: ip },
      { type: "ip", value: ip },
    ],
  });
  const change = (what: "addElements" | "deleteElements", rows: readonly HostPortHairpinRow[]): void => {
    for (const [family, some] of Map.groupBy(rows, (row) => familyOf(row.ip)))
      nftables[what]("inet", HOST_PORTS_TABLE, setOf(family), some.map(hairpin));
  };
  const keeper = skeletons.join(HOST_PORTS_SKELETON, () =>
    [...table.rows()]
      .map((row) => {
        const { key } = hairpin(row);
        return `add element inet ${HOST_PORTS_TABLE} ${setOf(familyOf(row.ip))} { ${text(key)} }\n`;
      })
      .join(""),
  );
  return {
    update: (row) => keeper.put(() => change("addElements", [row])),
    updateMany: (rows) => keeper.put(() => change("addElements", rows)),
    delete: (row) => keeper.take(() => change("deleteElements", [row])),
    deleteMany: (rows) => keeper.take(() => change("deleteElements", rows)),
    actual: {
      list: () =>
        keeper.stands()
          ? FAMILIES.flatMap((family) =>
              nftables
                .elements("inet", HOST_PORTS_TABLE, setOf(family), ["ip", "ip"], family)
                .map((element) => ({ family, element })),
            )
          : [],
      // Of two different addresses it is none of ours.
      keyOf: ({ element: { key } }) => (key[0]?.value === key[1]?.value ? String(key[0]?.value) : text(key)),
      matches: () => true,
      delete: ({ family, element }) =>
        nftables.deleteElements("inet", HOST_PORTS_TABLE, setOf(family), [element]),
    },
    // It is there or not.
    describe: () => "",
  };
}
