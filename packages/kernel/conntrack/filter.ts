/**
 * Filters of flows: what they mean, and how many are held against one flow at the cost of a few.
 *
 * The kernel narrows a dump (CTA_FILTER, query.ts), but what is removed is decided here: its own comparison is wrong for
 * IPv6 addresses, and knows no ports of SCTP.
 */
import { contains, familyOf, isIp, WeftError } from "@weft/base";
import {
  FLOW_STATUS,
  type Flow,
  type FlowFilter,
  type FlowTuple,
  TCP_FLOW_STATE,
  type TupleFilter,
} from "../port.ts";

const TUPLE_KEYS = ["source", "sourcePort", "destination", "destinationPort"] as const;
type TupleKey = (typeof TUPLE_KEYS)[number];

const DIRECTIONS = ["original", "reply"] as const;

function tupleMatches(filter: TupleFilter | undefined, tuple: FlowTuple): boolean {
  return (
    filter === undefined || TUPLE_KEYS.every((key) => filter[key] === undefined || filter[key] === tuple[key])
  );
}

export const isTranslated = (flow: Flow): boolean => (flow.status & FLOW_STATUS.destinationNat) !== 0;

const ENDED: readonly (number | undefined)[] = [
  TCP_FLOW_STATE.lastAck,
  TCP_FLOW_STATE.timeWait,
  TCP_FLOW_STATE.closed,
];
const isEnded = ({ tcpState }: Flow): boolean => ENDED.includes(tcpState);

/** Everything that the filter names holds of the flow. */
export const matches = (filter: FlowFilter, flow: Flow): boolean =>
  filter.family === flow.family &&
  (filter.protocol === undefined || filter.protocol === flow.protocol) &&
  tupleMatches(filter.original, flow.original) &&
  tupleMatches(filter.reply, flow.reply) &&
  restMatches(filter, flow);

const restMatches = ({ translated, replied, ended, from }: FlowFilter, flow: Flow): boolean =>
  (translated === undefined || translated === isTranslated(flow)) &&
  (replied === undefined || replied === ((flow.status & FLOW_STATUS.seenReply) !== 0)) &&
  (ended === undefined || ended === isEnded(flow)) &&
  (from === undefined ||
    from.inside === from.prefixes.some((prefix) => contains(prefix, flow.original.source)));

/** True if the filter names an address or a port. */
export const isNarrow = (filter: FlowFilter): boolean =>
  DIRECTIONS.some((direction) => TUPLE_KEYS.some((key) => filter[direction]?.[key] !== undefined));

/** Throws "invalid" for a filter that means nothing, or with `narrow` for one that names no address and no port. */
export function checkFilter(filter: FlowFilter, narrow: boolean): void {
  const invalid = (why: string, hint: string): WeftError =>
    new WeftError("invalid", `filter of flows: ${why}`, { object: describeFilter(filter), hint });
  const { family, protocol } = filter;
  if (protocol !== undefined && !(Number.isInteger(protocol) && protocol >= 0 && protocol <= 255))
    throw invalid(`${protocol} is no protocol`, "It is a number from 0 to 255.");
  for (const direction of DIRECTIONS) {
    for (const key of TUPLE_KEYS) {
      const value = filter[direction]?.[key];
      if (value === undefined) continue;
      if (typeof value === "string") {
        if (!isIp(value) || familyOf(value) !== family)
          throw invalid(`${direction} ${key} is no IPv${family} address`, "Both have one family.");
      } else if (!Number.isInteger(value) || value < 0 || value > 65535) {
        throw invalid(`${direction} ${key} is no port`, "It is a number from 0 to 65535.");
      } else if (protocol === undefined) {
        throw invalid(`${direction} ${key} without a protocol`, "Say of which protocol.");
      }
    }
  }
  if (narrow && !isNarrow(filter))
    throw invalid("it names no address and no port", "Nothing removes all flows of a node.");
}

/** "IPv4 protocol 17 to 10.96.0.10:53, replies from 10.244.1.7:5353". */
export function describeFilter(filter: FlowFilter): string {
  const { family, protocol, original, reply, translated, replied, ended, from } = filter;
  const end = (ip?: string, port?: number): string =>
    `${ip?.includes(":") ? `[${ip}]` : (ip ?? "any")}${port === undefined ? "" : `:${port}`}`;
  const parts = [
    `IPv${family}`,
    protocol === undefined ? "" : `protocol ${protocol}`,
    ...[original, reply].flatMap((tuple, i) =>
      tuple === undefined
        ? []
        : [
            ...(tuple.source === undefined && tuple.sourcePort === undefined
              ? []
              : [`${["from", "replies from"][i]} ${end(tuple.source, tuple.sourcePort)}`]),
            ...(tuple.destination === undefined && tuple.destinationPort === undefined
              ? []
              : [`${["to", "replies to"][i]} ${end(tuple.destination, tuple.destinationPort)}`]),
          ],
    ),
    translated === undefined ? "" : translated ? "translated" : "untranslated",
    replied === undefined ? "" : replied ? "replied" : "unreplied",
    ended === undefined ? "" : ended ? "ended" : "not ended",
    from === undefined ? "" : `from ${from.inside ? "" : "outside "}${from.prefixes.join(",")}`,
  ];
  return parts.filter((part) => part !== "").join(" ");
}

interface Shape {
  readonly original: readonly TupleKey[];
  readonly reply: readonly TupleKey[];
  readonly protocol: boolean;
  /** Positions of filters by their values. */
  readonly filters: Map<string, number[]>;
}

/**
 * Many filters as few questions: those that name the same parts of a flow are one map by these parts. A flow is looked
 * up once for each combination of parts that any filter names.
 */
export class FilterIndex {
  readonly #filters: readonly FlowFilter[];
  readonly #shapes = new Map<string, Shape>();

  constructor(filters: readonly FlowFilter[]) {
    this.#filters = filters;
    filters.forEach((filter, position) => {
      const given = (tuple: TupleFilter | undefined): TupleKey[] =>
        TUPLE_KEYS.filter((key) => tuple?.[key] !== undefined);
      const original = given(filter.original);
      const reply = given(filter.reply);
      const protocol = filter.protocol !== undefined;
      const name = `${original} ${reply} ${protocol}`;
      const shape = this.#shapes.get(name) ?? { original, reply, protocol, filters: new Map() };
      this.#shapes.set(name, shape);
      const key = keyOf(shape, filter.family, filter.protocol, filter.original, filter.reply);
      const positions = shape.filters.get(key);
      if (positions === undefined) shape.filters.set(key, [position]);
      else positions.push(position);
    });
  }

  /** Positions of all filters that match, in no order. */
  *matching(flow: Flow): Iterable<number> {
    for (const shape of this.#shapes.values()) {
      const key = keyOf(shape, flow.family, flow.protocol, flow.original, flow.reply);
      for (const position of shape.filters.get(key) ?? []) {
        if (restMatches(this.#filters[position] as FlowFilter, flow)) yield position;
      }
    }
  }

  /** Position of the first filter that matches. */
  first(flow: Flow): number | undefined {
    let least: number | undefined;
    for (const position of this.matching(flow)) if (least === undefined || position < least) least = position;
    return least;
  }
}

function keyOf(
  shape: Shape,
  family: number,
  protocol: number | undefined,
  original: TupleFilter | FlowTuple | undefined,
  reply: TupleFilter | FlowTuple | undefined,
): string {
  let key = shape.protocol ? `${family} ${protocol}` : `${family}`;
  for (const part of shape.original) key += ` ${original?.[part]}`;
  for (const part of shape.reply) key += ` ${reply?.[part]}`;
  return key;
}
