/** Where the suite keeps what it builds and what its machines write. Nothing of it is in the checkout's history. */
import { join } from "node:path";
import { WeftError } from "@weft/base";

export const CHECKOUT = join(import.meta.dir, "..");
export const CACHE = join(import.meta.dir, ".cache");
/** Every program of the machines; seen there as /usr/local/bin. */
export const PROGRAMS = join(CACHE, "bin");
/** One directory a cluster below. */
export const MACHINES = join(CACHE, "machines");
/** What failed cases of the last run are explained with. */
export const FAILURES = join(CACHE, "failures");
export const WEFT = join(CHECKOUT, "dist/weft");
/**
 * Begins the name of every namespace and cgroup directory of the suite: what has it is the suite's, to be removed.
 * Two checkouts can run at the same time with different ones, in WEFT_E2E_PREFIX.
 */
export const PREFIX = prefixFrom(process.env["WEFT_E2E_PREFIX"]);

function prefixFrom(given = "weft-e2e-"): string {
  if (/^weft-e2e[a-z0-9]{0,3}-$/.test(given)) return given;
  throw new WeftError("invalid", `WEFT_E2E_PREFIX is "${given}"`, {
    hint: 'It is "weft-e2e", up to three letters or digits, and "-".',
  });
}
