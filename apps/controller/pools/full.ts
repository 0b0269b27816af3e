/** `status.full` of a pool: when it will be full, for people who look with kubectl. */
import { timestamp } from "@weft/cluster/client";
import type { Forecast } from "@weft/ipam/inspect";

/**
 * "never", or a time (RFC 3339), rounded up: to minutes of the next two hours, to hours of the next two days, then to days. It
 * is written anew only with numbers that are others, or when it comes to be, or ceases to be, never: a forecast is another
 * one every time. Of a leader that knows too little yet, what the one before it wrote stays.
 */
export function fullText(
  forecast: Forecast,
  now: number,
  before: string | undefined,
  sameNumbers: boolean,
): string | undefined {
  if (forecast.kind === "unknown") return before;
  if (forecast.kind === "never") return "never";
  if (sameNumbers && before !== undefined && before !== "never") return before;
  const { seconds } = forecast;
  const step = seconds < 7200 ? 60 : seconds < 172_800 ? 3600 : 86_400;
  const at = Math.ceil((now / 1000 + seconds) / step) * step;
  return timestamp(at * 1000);
}
