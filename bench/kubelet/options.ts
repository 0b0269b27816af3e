/** The words of ../pods. */
import { parseArgs } from "node:util";
import { WeftError } from "@weft/base";

export interface Options {
  /** Pods at once. */
  readonly burst: number;
  /** Bursts on each side, by turns, without the first, which warms up. */
  readonly rounds: number;
  readonly json: boolean;
}

export const USAGE = `Usage: ./bench/pods [--burst N] [--rounds N] [--json]

  --burst N    pods created at once on one node (default 50)
  --rounds N   bursts on each side, by turns (default 5)
  --json       the report as JSON

Progress is on the error output. Exit codes: 0 measured, 1 failed, 2 wrong use, 130 interrupted.
`;

/** kubelet takes 110 pods; some are those of the round before, ending. */
const MOST_PODS = 100;
const MOST_ROUNDS = 50;

/** Undefined when help was asked for. Throws "invalid" with the word that is wrong. */
export function parseOptions(words: readonly string[]): Options | undefined {
  const { burst, rounds, json, help } = parse(words);
  if (help) return undefined;
  return {
    burst: whole("--burst", burst, MOST_PODS),
    rounds: whole("--rounds", rounds, MOST_ROUNDS),
    json,
  };
}

function parse(words: readonly string[]) {
  try {
    return parseArgs({
      args: [...words],
      options: {
        burst: { type: "string", default: "50" },
        rounds: { type: "string", default: "5" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    }).values;
  } catch (error) {
    throw new WeftError("invalid", error instanceof Error ? error.message : String(error), { hint: USAGE });
  }
}

function whole(option: string, given: string, most: number): number {
  const number = Number(given);
  if (/^[0-9]+$/.test(given) && number >= 1 && number <= most) return number;
  throw new WeftError("invalid", `${option} must be a whole number from 1 to ${most}, not "${given}"`, {
    hint: USAGE,
  });
}
