/** The loopback plugin as an executable of its own. */
import { processIo, runPlugin } from "@weft/cni";
import { loopbackPlugin } from "./index.ts";

process.exitCode = await runPlugin(
  loopbackPlugin(async () => (await import("@weft/kernel")).openKernel()),
  processIo(),
);
