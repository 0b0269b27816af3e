/** The reference plugins: when these fail, the harness is at fault and not the network. */
import { bridgeNetwork } from "../networks/bridge.ts";
import { COMMON, deletion } from "./common.ts";
import type { Suite } from "./suite.ts";

export const bridge: Suite = {
  title: "reference",
  cluster: () => ({ name: "bridge", families: "dual", racks: [1, 1], network: bridgeNetwork() }),
  cases: [...COMMON, deletion],
};
