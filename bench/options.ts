/** The command line of bench/run.ts. */
import { WeftError } from "@weft/base";

export type Suite = "cni" | "agent" | "traffic" | "scale" | "services" | "kube-proxy" | "pools";
export const SUITES: readonly Suite[] = [
  "cni",
  "agent",
  "traffic",
  "scale",
  "services",
  "kube-proxy",
  "pools",
];

export interface BenchOptions {
  readonly suites: readonly Suite[];
  /** Pods present on a node while it is measured. */
  readonly pods: number;
  /** Nodes of the simulated cluster; each has 50 pods. */
  readonly nodes: number;
  /** ADDs at once in a burst. */
  readonly burst: number;
  /** Repetitions; 0 stands for each suite's own number. */
  readonly rounds: number;
  /** Seconds of each measurement of time at rest or of traffic; 0 stands for the suite's own. */
  readonly seconds: number;
  /** Services of suites "services" and "kube-proxy"; 0 stands for their own numbers. */
  readonly services: number;
  /** Mode of kube-proxy that is compared with; "none": Weft alone; undefined: all. */
  readonly peer: "nftables" | "iptables" | "none" | undefined;
  readonly json: boolean;
  /** The built executable. */
  readonly weft: string;
}

export const DEFAULT_OPTIONS: BenchOptions = {
  suites: SUITES,
  pods: 250,
  nodes: 1000,
  burst: 100,
  rounds: 0,
  seconds: 0,
  services: 0,
  peer: undefined,
  json: false,
  weft: "dist/weft",
};

export const USAGE = `Usage: bun run bench/run.ts [${SUITES.join("|")}]... [--pods N] [--nodes N] [--burst N] [--rounds N] [--seconds N] [--services N] [--peer MODE] [--json] [--weft FILE]

  --pods N      pods on each side while it is measured (default ${DEFAULT_OPTIONS.pods})
  --nodes N     nodes of the simulated cluster (default ${DEFAULT_OPTIONS.nodes})
  --burst N     ADDs at once (default ${DEFAULT_OPTIONS.burst})
  --rounds N    repetitions, by turns of the sides
  --seconds N   length of a measurement at rest or of traffic
  --services N  services of suites "services" (default 10000, then 30000) and "kube-proxy" (1000, then 10000)
  --peer MODE   of kube-proxy: nftables, iptables, or none for Weft alone (default both)
  --json        the reports as JSON
  --weft FILE   the executable (default ${DEFAULT_OPTIONS.weft})
`;

const NUMBERS = {
  "--pods": [1, 900],
  "--nodes": [2, 5000],
  "--burst": [1, 250],
  "--rounds": [1, 100],
  "--seconds": [1, 120],
  "--services": [1, 65_000],
} as const;

/** Throws "invalid" with the word that is wrong. */
export function parseBenchOptions(words: readonly string[]): BenchOptions {
  const suites: Suite[] = [];
  let options = DEFAULT_OPTIONS;
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as string;
    const suite = SUITES.find((s) => s === word);
    if (suite !== undefined) suites.push(suite);
    else if (word === "--json") options = { ...options, json: true };
    else if (word === "--weft") options = { ...options, weft: wordAt(words, ++i, word) };
    else if (word === "--peer") options = { ...options, peer: peerOf(wordAt(words, ++i, word)) };
    else if (word in NUMBERS) {
      const [least, most] = NUMBERS[word as keyof typeof NUMBERS];
      options = { ...options, [word.slice(2)]: integer(wordAt(words, ++i, word), least, most, word) };
    } else throw new WeftError("invalid", `"${word}" is neither a suite nor an option`, { hint: USAGE });
  }
  return { ...options, suites: suites.length === 0 ? SUITES : [...new Set(suites)] };
}

function wordAt(words: readonly string[], at: number, option: string): string {
  const value = words[at];
  if (value !== undefined && value !== "") return value;
  throw new WeftError("invalid", `${option} needs a value`, { hint: USAGE });
}

function peerOf(word: string): NonNullable<BenchOptions["peer"]> {
  if (word === "nftables" || word === "iptables" || word === "none") return word;
  throw new WeftError("invalid", `--peer must be nftables, iptables or none, not "${word}"`);
}

function integer(text: string, least: number, most: number, option: string): number {
  const value = Number(text);
  if (/^[0-9]+$/.test(text) && value >= least && value <= most) return value;
  throw new WeftError("invalid", `${option} must be a whole number from ${least} to ${most}, not "${text}"`);
}
