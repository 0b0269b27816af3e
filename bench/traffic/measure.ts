/** One measurement of a path between two pods. */
import { WeftError } from "@weft/base";
import { type NetnsHandle, spawnIn } from "@weft/kernel/netns";
import type { Session } from "../session/session.ts";

const TRIP = new URL("./round-trip.ts", import.meta.url).pathname;
const TRIP_PORT = 7001;
const IPERF_PORT = 7002;
/** Longer than any measurement is allowed to be. */
const GIVE_UP_MS = 150_000;

/** From a pod to an address of another, where both servers run. */
export interface Path {
  readonly from: NetnsHandle;
  readonly to: string;
}

export function startServers(session: Session, label: string, pod: NetnsHandle): void {
  session.start(pod, `${label}-trip`, [process.execPath, TRIP, "serve", String(TRIP_PORT)]);
  session.start(pod, `${label}-iperf`, ["iperf3", "--server", "--port", String(IPERF_PORT)]);
}

/** TCP round trips of one byte in a second. */
export async function roundTrips(path: Path, seconds: number, port = TRIP_PORT): Promise<number> {
  const text = await output(path, [process.execPath, TRIP, "ask", path.to, String(port), String(seconds)]);
  const value = Number(text);
  if (text !== "" && Number.isFinite(value)) return value;
  throw new WeftError("invalid", `round-trip printed "${text}"`);
}

/** TCP throughput of one connection, Gbit/s. Whole seconds, at least one: iperf3 takes 0 for endless. */
export async function throughput(path: Path, seconds: number): Promise<number> {
  const words = [
    "--client",
    path.to,
    "--port",
    String(IPERF_PORT),
    "--time",
    String(Math.max(1, Math.round(seconds))),
    "--json",
  ];
  return parseIperf(await output(path, ["iperf3", ...words])) / 1e9;
}

/** Bits in a second that the receiver got, of `iperf3 --json`. Throws "invalid", or "unavailable" with its error. */
export function parseIperf(json: string): number {
  let document: { error?: string; end?: { sum_received?: { bits_per_second?: unknown } } };
  try {
    document = JSON.parse(json) as typeof document;
  } catch (cause) {
    throw new WeftError("invalid", "iperf3 printed no JSON", { cause });
  }
  if (document.error !== undefined) throw new WeftError("unavailable", `iperf3: ${document.error}`);
  const bits = document.end?.sum_received?.bits_per_second;
  if (typeof bits === "number" && bits > 0) return bits;
  throw new WeftError("invalid", "iperf3 says nothing of bits_per_second");
}

async function output({ from }: Path, argv: string[]): Promise<string> {
  const child = spawnIn(from, argv, { stdin: "ignore", stdout: "pipe", stderr: "pipe", timeout: GIVE_UP_MS });
  const [text, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  // iperf3 tells its error in what it prints as well.
  if ((await child.exited) === 0 || text !== "") return text.trim();
  throw new WeftError("unavailable", `${argv.join(" ")}: ${errors.trim()}`);
}

/** Until both servers answer. Throws "timeout" with what the last try said. */
export async function waitForServers(path: Path): Promise<void> {
  let last: unknown;
  for (const end = performance.now() + 10_000; performance.now() < end; await Bun.sleep(100)) {
    try {
      await roundTrips(path, 0.01);
      await throughput(path, 1);
      return;
    } catch (error) {
      last = error;
    }
  }
  throw new WeftError("timeout", `the servers at ${path.to} do not answer`, { object: path.to, cause: last });
}
