/** The namespace that the lab's own pods and leases are in: made before anything else is. */
import { type Clock, describeError, isExists, type Logger } from "@weft/base";
import { type ApiClient, createObject, NAMESPACES } from "@weft/cluster/client";
import { Backoff, pause } from "./wait.ts";

export interface NamespaceOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends the tries. */
  readonly signal: AbortSignal;
}

/** Resolves once it is there, be it from before: a server that has just begun may end again. False when it was called off. */
export async function makeNamespace(
  name: string,
  { client, clock, logger, signal }: NamespaceOptions,
): Promise<boolean> {
  const backoff = new Backoff();
  while (!signal.aborted) {
    try {
      await createObject(client, NAMESPACES, { metadata: { name } }, { signal });
      return true;
    } catch (error) {
      if (isExists(error)) return true;
      if (signal.aborted) break;
      logger.warn("a namespace is not made yet", { namespace: name, error: describeError(error) });
    }
    await pause(clock, backoff.next(), signal);
  }
  return false;
}
