/** CustomResourceDefinitions of our own kinds: the one source of manifests, chart, embedded server and tests. */
import { IP_BLOCK_DEFINITION } from "./ip-block.ts";
import { IP_POOL_DEFINITION } from "./ip-pool.ts";
import type { Definition } from "./shared.ts";

export { registerDefinitions } from "./register.ts";
export type { Definition } from "./shared.ts";
export { IP_BLOCK_DEFINITION, IP_POOL_DEFINITION };

export const DEFINITIONS: readonly Definition[] = [IP_POOL_DEFINITION, IP_BLOCK_DEFINITION];
