import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createNftables } from "../../nftables/index.ts";
import { closeFd, sendBytes } from "../../sys/index.ts";
import { createAnonymous, inNetns, type NetnsHandle } from "../index.ts";
import { breaks, dial, hear, hold, Server } from "./index.ts";

let place: NetnsHandle;
const servers: Server[] = [];
beforeAll(() => {
  place = createAnonymous();
  inNetns(place.fd, () => Bun.spawnSync(["ip", "link", "set", "lo", "up"]));
  servers.push(new Server(place, "a", 8000), new Server(place, "b", 8001));
});
afterAll(() => {
  for (const server of servers) server.close();
  place.close();
});

describe.each(["127.0.0.1", "::1"])("%s", (ip) => {
  const other = ip === "::1" ? ip : "127.0.0.2";

  test.each(["tcp", "udp"] as const)("%s: who answers, whom it sees, and who refuses", async (protocol) => {
    const to = { ip, protocol };
    expect(await dial(place, servers, { ...to, port: 8000 })).toBe(`a from ${ip}`);
    expect(await dial(place, servers, { ...to, port: 8001, from: other, fromPort: 4000 })).toBe(
      `b from ${other}`,
    );
    expect(await dial(place, servers, { ...to, port: 8002 })).toBe("ECONNREFUSED");
    expect(await dial(place, [], { ...to, port: 8000, timeoutMs: 20 })).toBe("timeout");
  });

  test("a datagram that is lost, or its answer, is sent again", async () => {
    const nft = createNftables(place);
    const first = (port: string) => `table inet loss { chain input { type filter hook input priority 0;
      udp ${port} numgen inc mod 2 0 drop
    }
    }`;
    try {
      for (const port of ["dport 8000", "sport 8000"]) {
        await nft.run(first(port));
        expect(await dial(place, servers, { ip, port: 8000, protocol: "udp" })).toBe(`a from ${ip}`);
        await nft.run("delete table inet loss");
      }
      await nft.run(first("dport 8002"));
      expect(await dial(place, servers, { ip, port: 8002, protocol: "udp" })).toBe("ECONNREFUSED");
    } finally {
      await nft.run("flush ruleset");
      nft.close();
    }
  });

  test("a connection that is held gets an answer to all that is sent", async () => {
    const { fd } = await hold(place, servers, { ip, port: 8000 });
    try {
      for (let i = 0; i < 2; i++) {
        sendBytes(fd, Buffer.alloc(1));
        expect(await hear(fd, servers)).toBe(`a from ${ip}`);
      }
    } finally {
      closeFd(fd);
    }
  });

  test.each([0, 20])("a connection whose server has gone is broken, %d ms later too", async (ms) => {
    const server = new Server(place, "c", 8003);
    const { fd } = await hold(place, [server], { ip, port: 8003 });
    try {
      sendBytes(fd, Buffer.alloc(1)); // Not read: it is reset by the server's end.
      server.close();
      await Bun.sleep(ms);
      expect(await breaks(fd)).toBe("ECONNRESET");
    } finally {
      closeFd(fd);
    }
  });
});
