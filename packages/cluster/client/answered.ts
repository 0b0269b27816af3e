/** Whether a server has said anything about a kind yet: it may not have it, or not show it to whoever asks. */
import type { Clock } from "@weft/base";
import type { ResourceWatch } from "./watch.ts";

const LOOK_MS = 50;

/**
 * Resolves when the list is complete, or was answered in any other way than by silence. Rejects when the watch is stopped
 * before.
 */
export async function answered(watch: ResourceWatch, clock: Pick<Clock, "setTimeout">): Promise<void> {
  let done = false;
  const listed = watch.ready.finally(() => {
    done = true;
  });
  const refused = (async () => {
    while (!done && watch.status().lastError === undefined) {
      await new Promise<void>((resolve) => void clock.setTimeout(resolve, LOOK_MS));
    }
  })();
  await Promise.race([listed, refused]);
}
