/** The adapter to the API passes the suite of the engine's port, around the embedded server. */
import { describePoolApi } from "@weft/ipam/pools/testing";
import { PoolServer } from "../testing/pool-server.ts";

describePoolApi("createPoolsApi", async () => {
  const server = await PoolServer.start();
  return {
    api: server.api(),
    makePool: (name, cidr, blockSize) => server.makePool(name, cidr, blockSize),
    end: () => server.stop(),
  };
});
