import { FakePoolApi } from "./fake.ts";
import { describePoolApi } from "./suite.ts";
import { poolOf } from "./testing/world.ts";

describePoolApi("FakePoolApi", async () => {
  const api = new FakePoolApi();
  return {
    api,
    async makePool(name, cidr, blockSize) {
      const pool = poolOf(name, cidr, blockSize);
      api.pools.set(name, pool);
      return pool;
    },
    async end() {},
  };
});
