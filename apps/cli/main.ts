/**
 * The executable's entry: chooses what this process is, before anything heavy is loaded.
 *
 *   called as (weft-)loopback     the CNI plugin loopback
 *   CNI_COMMAND is set, no words  the CNI plugin weft
 *   otherwise                     the command line
 *
 * A plugin lives some milliseconds, so each of the three is loaded only when chosen.
 */
import { basename } from "node:path";

const words = process.argv.slice(2);
const name = basename(process.argv0);

if (name === "weft-loopback" || name === "loopback") {
  const { processIo, runPlugin } = await import("@weft/cni");
  const { loopbackPlugin } = await import("@weft/plugin-loopback");
  const { openKernel } = await import("@weft/kernel");
  process.exit(await runPlugin(loopbackPlugin(openKernel), processIo()));
} else if (process.env["CNI_COMMAND"] !== undefined && words.length === 0) {
  const { processIo, runPlugin } = await import("@weft/cni");
  const { weftPlugin } = await import("@weft/plugin-weft");
  process.exit(await runPlugin(weftPlugin, processIo()));
} else {
  const { runCli } = await import("./cli.ts");
  await runCli(words);
}
