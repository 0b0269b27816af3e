/** The words of ../conformance. */
import { parseArgs } from "node:util";
import { WeftError } from "@weft/base";
import type { Families } from "../cluster/ranges.ts";
import type { WeftSettings } from "../networks/weft.ts";
import type { SpecOptions } from "./ginkgo.ts";

const NETWORKS = ["weft", "reference"] as const;
const BACKENDS: readonly WeftSettings["backend"][] = ["auto", "direct", "vxlan"];
const SERVICES = ["kube-proxy", "weft"] as const;
const FAMILIES: readonly Families[] = ["dual", "ipv4", "ipv6"];

export interface Options extends SpecOptions {
  readonly network: (typeof NETWORKS)[number];
  /** Between Weft's nodes. */
  readonly backend: WeftSettings["backend"];
  /** Who brings services' addresses to their endpoints. */
  readonly services: (typeof SERVICES)[number];
  readonly families: Families;
  readonly hold: boolean;
}

export const USAGE = `Runs upstream's conformance specs of the network ([sig-network] ... [Conformance]) on a cluster of its own.

  ./e2e/conformance                                    all of them, with Weft, dual stack
  ./e2e/conformance --network reference                with the reference plugins, which prove the harness
  ./e2e/conformance --families ipv6 --focus 'Services' only those whose names match, on IPv6 alone

  --network NAME     weft (default) or reference
  --backend NAME     between Weft's nodes: auto (default: direct, as both stand on one subnet), direct or vxlan
  --services NAME    by kube-proxy (default), or by weft: then no node runs a kube-proxy
  --families NAME    dual (default), ipv4 or ipv6
  --focus REGEX      only specs whose full names match
  --skip REGEX       no specs whose full names match
  --procs N          specs at a time (default 4)
  --timeout MINUTES  of the specs together (default 40)
  --hold             leaves the cluster up until Ctrl-C

Reports (junit.xml, report.json) and ginkgo's output are left in e2e/.cache/conformance/NETWORK-FAMILIES,
or NETWORK-services-FAMILIES without kube-proxy.
The last line is "N passed, N failed", with ", N skipped" behind it if any were.
Exit codes: 0 all passed, 1 some failed or none ran, 2 wrong use, 130 interrupted.`;

/** Undefined when help was asked for. Throws "invalid". */
export function parseOptions(words: readonly string[]): Options | undefined {
  const { values } = parse(words);
  if (values.help) return undefined;
  const network = oneOf("--network", values.network, NETWORKS);
  const services = oneOf("--services", values.services, SERVICES);
  if (network !== "weft" && services === "weft") {
    throw new WeftError("invalid", `--services is "weft" and --network is "${network}"`, {
      hint: "Weft serves services where it is the network.",
    });
  }
  return {
    network,
    services,
    backend: oneOf("--backend", values.backend, BACKENDS),
    families: oneOf("--families", values.families, FAMILIES),
    focus: pattern("--focus", values.focus),
    skip: pattern("--skip", values.skip),
    procs: whole("--procs", values.procs, 16),
    minutes: whole("--timeout", values.timeout, 600),
    hold: values.hold,
  };
}

const HINT = "./e2e/conformance --help shows all options.";

function parse(words: readonly string[]) {
  const text = (value: string) => ({ type: "string", default: value }) as const;
  try {
    return parseArgs({
      args: [...words],
      options: {
        network: text("weft"),
        backend: text("auto"),
        services: text("kube-proxy"),
        families: text("dual"),
        focus: text(""),
        skip: text(""),
        procs: text("4"),
        timeout: text("40"),
        hold: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    throw new WeftError("invalid", error instanceof Error ? error.message : String(error), { hint: HINT });
  }
}

function oneOf<T extends string>(option: string, given: string, allowed: readonly T[]): T {
  const found = allowed.find((a) => a === given);
  if (found !== undefined) return found;
  throw new WeftError("invalid", `${option} is "${given}"`, { hint: `It is one of ${allowed.join(", ")}.` });
}

/** Go's regular expressions and these differ little; what is broken in both is told before anything is built. */
function pattern(option: string, given: string): string {
  try {
    new RegExp(given);
    return given;
  } catch {
    throw new WeftError("invalid", `${option} is "${given}", no regular expression`, { hint: HINT });
  }
}

function whole(option: string, given: string, most: number): number {
  const number = Number(given);
  if (/^[0-9]+$/.test(given) && number >= 1 && number <= most) return number;
  throw new WeftError("invalid", `${option} is "${given}"`, { hint: `It is a number from 1 to ${most}.` });
}
