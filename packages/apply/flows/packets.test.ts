/**
 * Stale flows with real packets, in namespaces without names:
 *
 *     client 10.0.0.100 --- node --- a 10.244.0.10, b 10.244.0.11
 *                             |----- sink, where the way to 10.96.0.0/16 leads: what is not translated ends there
 *
 * the same in IPv6. The node's frontends are rules of a table written here, one backend each.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { type Family, type IpAddress, type Prefix, silentLogger, systemClock } from "@weft/base";
import { type ConntrackHandle, createConntrack } from "@weft/kernel/conntrack";
import { createAnonymous, inNetns, type NetnsHandle } from "@weft/kernel/netns";
import { socketIn } from "@weft/kernel/netns/testing";
import { createNftables, type NftablesHandle } from "@weft/kernel/nftables";
import { FLOW_STATUS } from "@weft/kernel/port";
import {
  acceptSocket,
  closeFd,
  connectSocket,
  domainOf,
  encodeSocketAddress,
  errnoName,
  listenSocket,
  MSG_NOSIGNAL,
  openSocket,
  RESET_ON_CLOSE,
  receiveBytes,
  receiveStream,
  SO_LINGER,
  SOCK,
  SOL_SOCKET,
  SysError,
  sendBytes,
  sendTo,
  setOptionBytes,
  takeFault,
} from "@weft/kernel/sys";
import type { FrontendRow, Transport } from "@weft/model";
import { createFlowCleaner } from "./cleaner.ts";
import { context, row } from "./testing.ts";

type Place = "client" | "node" | "a" | "b" | "sink";
const PLACES: readonly Place[] = ["client", "node", "a", "b", "sink"];
const IPS = {
  4: {
    client: "10.0.0.100",
    a: "10.244.0.10",
    b: "10.244.0.11",
    frontend: "10.96.0.10",
    other: "10.96.0.11",
  },
  6: { client: "fd00:10::100", a: "fd44::10", b: "fd44::11", frontend: "fd96::10", other: "fd96::11" },
} as const;
const PORT = 8080;
const SCTP = 132;
/** All that a link takes in (packet(7)): AF_PACKET, and ETH_P_ALL in network order. */
const AF_PACKET = 17;
const ETH_P_ALL = 0x0300;
/** After so long what has not come is taken for lost. */
const AGAIN_MS = 1000;
const PATIENCE_MS = 12_000;

const places = {} as Record<Place, NetnsHandle>;
let nft: NftablesHandle;
let ct: ConntrackHandle;
const open: number[] = [];
const buffer = Buffer.from(new ArrayBuffer(2048));

function run(place: Place, argv: string[], input = ""): string {
  const { exitCode, stdout, stderr } = inNetns(places[place].fd, () =>
    Bun.spawnSync(argv, { stdin: Buffer.from(input), stdout: "pipe", stderr: "pipe" }),
  );
  if (exitCode !== 0) throw new Error(`${argv.join(" ")}: ${stderr}`);
  return stdout.toString();
}
const ip = (place: Place, ...lines: string[]): string =>
  run(place, ["ip", "-batch", "-"], `${lines.join("\n")}\n`);

beforeAll(() => {
  for (const place of PLACES) places[place] = createAnonymous();
  const fds = { client: "10.0.0", a: "10.1.1", b: "10.1.2", sink: "10.1.3" } as const;
  const far = Object.keys(fds) as (keyof typeof fds)[];
  for (const [i, place] of far.entries()) {
    const near = `to-${place}`;
    // Names of the other namespaces, for ip.
    const path = `/proc/${process.pid}/fd/${places[place].fd}`;
    run("node", [
      ...["ip", "link", "add", near, "address", `02:00:00:00:02:0${i}`, "type", "veth"],
      ...["peer", "name", "eth0", "address", `02:00:00:00:03:0${i}`, "netns", path],
    ]);
    const own = place === "sink" ? [] : [`${IPS[4][place]}/32`, `${IPS[6][place]}/128`];
    ip(
      place,
      "link set lo up",
      "link set eth0 up",
      ...own.map((a) => `addr add ${a} dev eth0${a.includes(":") ? " nodad" : ""}`),
      "route add 169.254.1.1 dev eth0",
      "route add default via 169.254.1.1",
      "route add default via fe80::1 dev eth0",
      `neigh add 169.254.1.1 dev eth0 lladdr 02:00:00:00:02:0${i}`,
      `neigh add fe80::1 dev eth0 lladdr 02:00:00:00:02:0${i}`,
    );
    const targets = place === "sink" ? ["10.96.0.0/16", "fd96::/64"] : own;
    ip(
      "node",
      "link set lo up",
      `link set ${near} up`,
      `addr add 169.254.1.1/32 dev ${near}`,
      `addr add fe80::1/64 dev ${near} nodad`,
      ...targets.map((t) =>
        place === "sink"
          ? `route add ${t} via ${t.includes(":") ? "fe80::2" : "169.254.1.2"} dev ${near}${t.includes(":") ? "" : " onlink"}`
          : `route add ${t} dev ${near}`,
      ),
      ...(place === "sink" ? ["169.254.1.2", "fe80::2"] : own.map((a) => a.slice(0, a.indexOf("/")))).map(
        (a) => `neigh add ${a} dev ${near} lladdr 02:00:00:00:03:0${i}`,
      ),
    );
  }
  run("node", [
    ...["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"],
    // INIT chunks of SCTP come without a checksum here.
    "net.netfilter.nf_conntrack_checksum=0",
    // Of what is only begun, ten seconds and half a minute by default: a busy machine may take longer for a step.
    "net.netfilter.nf_conntrack_sctp_timeout_closed=600",
    "net.netfilter.nf_conntrack_sctp_timeout_cookie_wait=600",
    "net.netfilter.nf_conntrack_udp_timeout=600",
  ]);
  nft = createNftables(places.node);
  ct = createConntrack(places.node);
});
afterAll(() => {
  nft.close();
  ct.close();
  for (const place of PLACES) places[place].close();
});
beforeEach(async () => {
  await become([]);
  run("node", ["conntrack", "-F"]);
});
afterEach(() => {
  for (const fd of open.splice(0)) closeFd(fd);
});

/** A nonblocking socket in a place, closed after the test. */
function socket(place: Place, family: Family, protocol: Transport, port?: number): number {
  const fd =
    protocol === "sctp"
      ? inNetns(places[place].fd, () => openSocket(domainOf(family), SOCK.raw | SOCK.nonblock, SCTP))
      : socketIn(places[place], { family, protocol, port });
  open.push(fd);
  // A reset is the last of a connection, and makes no flow where there is none; listeners hand the option on.
  if (protocol === "tcp") setOptionBytes(fd, SOL_SOCKET, SO_LINGER, RESET_ON_CLOSE);
  return fd;
}

let wanted = new Map<string, FrontendRow>();
const keyOf = ({ match }: FrontendRow): string => `${match.address} ${match.protocol} ${match.port}`;

/** The kernel's frontends; one without a backend is not translated, and with `refuse` it is reset. */
async function become(rows: readonly FrontendRow[], refuse = false): Promise<void> {
  wanted = new Map(rows.map((r) => [keyOf(r), r]));
  const rules = rows.flatMap(({ match, backends: [to] }) => {
    const family = match.family === 4 ? "ip" : "ip6";
    const what = `${family} daddr ${match.address} ${match.protocol} dport ${match.port}`;
    if (to !== undefined) {
      const target = match.family === 4 ? `${to.ip}:${to.port}` : `[${to.ip}]:${to.port}`;
      return [`add rule inet t nat ${what} dnat ${family} to ${target}`];
    }
    return refuse ? [`add rule inet t refuse ${what} reject with tcp reset`] : [];
  });
  await nft.run(`
    table inet t {
      chain nat { type nat hook prerouting priority dstnat; }
      chain refuse { type filter hook forward priority 0; }
    }
    flush table inet t
    # Connection tracking is on while a rule asks for it.
    add rule inet t refuse ct state invalid counter
    ${rules.join("\n")}`);
}

/** Tells a cleaner of the change, and waits until it has done its work; the result is how many flows went. */
async function clean(before: readonly FrontendRow[], resetConnections = false): Promise<number> {
  const cleaner = createFlowCleaner({
    conntrack: ct,
    clock: systemClock,
    logger: silentLogger,
    frontend: (match) => ({
      any: wanted.get(`${match.address} ${match.protocol} ${match.port}`),
      outside: undefined,
    }),
    context: () => context({ inside: ["10.244.0.0/24" as Prefix], resetConnections }),
  });
  const keys = new Set([...before, ...wanted.values()].map(keyOf));
  for (const key of keys)
    cleaner.changed(
      before.find((r) => keyOf(r) === key),
      wanted.get(key),
    );
  await cleaner.idle();
  const { removed, error } = cleaner.statistics;
  expect(error).toBeUndefined();
  return removed;
}

const frontendOf = (
  family: Family,
  protocol: Transport,
  backends: readonly ("a" | "b")[],
  address: "frontend" | "other" = "frontend",
): FrontendRow =>
  row(
    backends.map((b) => (family === 4 ? `${IPS[4][b]}:${PORT}` : `[${IPS[6][b]}]:${PORT}`)),
    { address: IPS[family][address], protocol, port: 53 },
  );

/** Flows as the program lists them, without what counts down or changes by itself. */
const listed = (): string[] =>
  (["ipv4", "ipv6"] as const)
    .flatMap((family) => run("node", ["conntrack", "-L", "-f", family, "-o", "id"]).split("\n"))
    .filter((line) => line !== "")
    .map((line) => line.replace(/^(\S+\s+\d+) \d+ /, "$1 ").replace(/ use=\d+/, ""))
    .sort();

/** An INIT chunk (RFC 9260 section 3.3.2). */
function init(sourcePort: number, port: number): Buffer {
  const packet = Buffer.alloc(32);
  packet.writeUInt16BE(sourcePort, 0);
  packet.writeUInt16BE(port, 2);
  packet.set([1, 0, 0, 20, 0, 0, 0, 9, 0, 1, 0, 0, 0, 1, 0, 1], 12);
  return packet;
}

/** False, too, at the end of a connection that is broken: that is its own affair. */
function hears(fd: number): boolean {
  try {
    return receiveStream(fd, buffer) !== undefined;
  } catch (error) {
    if (error instanceof SysError) return false;
    throw error;
  }
}

/** A client that sends from one port all the time, and who gets it: the pods, or nobody, which is the sink. */
function datagrams(family: Family, protocol: "udp" | "sctp", port = 4000) {
  const listen = protocol === "udp" ? PORT : undefined;
  const ends = (["a", "b"] as const).map((name): { name: string; fd: number } => ({
    name,
    fd: socket(name, family, protocol, listen),
  }));
  const sink = inNetns(places.sink.fd, () => openSocket(AF_PACKET, SOCK.raw | SOCK.nonblock, ETH_P_ALL));
  open.push(sink);
  ends.push({ name: "nobody", fd: sink });
  const client = socket("client", family, protocol, protocol === "udp" ? port : undefined);
  // No end of a packet that the kernel makes by itself.
  let mark = 0xfeed0000;
  /** True if it has got what bears the mark; what was sent before may still come on a busy machine. */
  const hasGot = ({ fd }: { fd: number }): boolean => {
    let got = false;
    for (let length = receiveBytes(fd, buffer); length !== undefined; length = receiveBytes(fd, buffer))
      got ||= length >= 4 && length <= buffer.length && buffer.readUInt32BE(length - 4) === mark;
    return got;
  };
  /** Who gets the next packet to the address: "a", "b" or "nobody"; "none of them" if it does not get there. */
  return async (address: "frontend" | "other" = "frontend"): Promise<string> => {
    const to = { ip: IPS[family][address] as IpAddress, port: protocol === "udp" ? 53 : 0 };
    const bytes = protocol === "udp" ? Buffer.alloc(4) : init(port, 53);
    bytes.writeUInt32BE(++mark, bytes.length - 4);
    const begin = performance.now();
    for (let sent = 0; performance.now() - begin < PATIENCE_MS; ) {
      // One that is only late would make a flow again after it was removed: so it is sent again only when it is lost.
      if (performance.now() - begin >= sent * AGAIN_MS) {
        sendTo(client, bytes, encodeSocketAddress(to));
        sent++;
      }
      const got = ends.filter(hasGot);
      if (got.length > 0) return got.map(({ name }) => name).join(" and ");
      await Bun.sleep(1);
    }
    return "none of them";
  };
}

describe.each([4, 6] as const)("IPv%d", (family) => {
  describe.each(["udp", "sctp"] as const)("%s", (protocol) => {
    const f = (...backends: ("a" | "b")[]): FrontendRow => frontendOf(family, protocol, backends);
    const beside = frontendOf(family, protocol, ["a"], "other");

    test("a backend leaves: the client's next packet goes to another, and other flows stay as they are", async () => {
      const before = [f("a", "b"), beside];
      await become(before);
      const send = datagrams(family, protocol);
      expect([await send(), await send("other")]).toEqual(["a", "a"]);
      await become([f("b"), beside]);
      // This is what the cleaner is for.
      expect(await send()).toBe("a");
      const flows = listed();
      expect(await clean(before)).toBe(1);
      expect(listed()).toEqual(flows.filter((line) => !line.includes(`dst=${IPS[family].frontend} `)));
      expect([await send(), await send("other")]).toEqual(["b", "a"]);
      expect(await clean([f("b"), beside])).toBe(0);
    });

    test("to nothing and back: nothing is sent into the void for longer than there is no backend", async () => {
      await become([f("a")]);
      const send = datagrams(family, protocol);
      expect(await send()).toBe("a");
      await become([f()]);
      expect(await clean([f("a")])).toBe(1);
      expect(await send()).toBe("nobody");
      await become([f("b")]);
      expect(await send()).toBe("nobody");
      expect(await clean([f()])).toBe(1);
      expect(await send()).toBe("b");
    });

    test("a frontend goes with its flows, and comes again", async () => {
      await become([f("a"), beside]);
      const send = datagrams(family, protocol);
      expect([await send(), await send("other")]).toEqual(["a", "a"]);
      await become([beside]);
      expect(await clean([f("a"), beside])).toBe(1);
      expect([await send(), await send("other")]).toEqual(["nobody", "a"]);
      await become([f("b"), beside]);
      expect(await clean([beside])).toBe(1);
      expect([await send(), await send("other")]).toEqual(["b", "a"]);
    });
  });

  describe("tcp", () => {
    const f = (...backends: ("a" | "b")[]): FrontendRow => frontendOf(family, "tcp", backends);

    /** A connection to the frontend that pod a has taken. */
    async function connected() {
      const [listener] = (["a", "b"] as const).map((pod) => {
        const fd = socket(pod, family, "tcp", PORT);
        listenSocket(fd, 10);
        return fd;
      });
      const client = socket("client", family, "tcp");
      connectSocket(client, encodeSocketAddress({ ip: IPS[family].frontend as IpAddress, port: 53 }));
      let server: number | undefined;
      for (let i = 0; i < 20_000 && server === undefined; i++) {
        server = acceptSocket(listener as number)?.fd;
        await Bun.sleep(1);
      }
      if (server === undefined) throw new Error("no connection came");
      open.push(server);
      const accepted = server;
      /** What comes of a byte that the client sends: "heard", or the error that it gets. */
      return async (): Promise<string> => {
        try {
          // A segment that the kernel sent again by itself may have been answered with the reset already.
          sendBytes(client, Buffer.from("x"), MSG_NOSIGNAL);
          for (let i = 0; i < 12_000; i++) {
            const fault = takeFault(client);
            if (fault !== undefined) return errnoName(fault.errno);
            if (receiveStream(client, buffer) === 0) return "closed";
            if (hears(accepted)) return "heard";
            await Bun.sleep(1);
          }
          return "nothing";
        } catch (error) {
          if (error instanceof SysError) return error.errnoName;
          throw error;
        }
      };
    }

    test("a backend leaves: the connection goes on", async () => {
      await become([f("a", "b")]);
      const send = await connected();
      expect(await send()).toBe("heard");
      await become([f("b")]);
      expect(await clean([f("a", "b")])).toBe(0);
      expect(await send()).toBe("heard");
    });

    test("a backend leaves and connections are to be reset: the client is told by its next packet", async () => {
      await become([f("a", "b")]);
      const send = await connected();
      expect(await send()).toBe("heard");
      await become([f("b")]);
      expect(await clean([f("a", "b")], true)).toBe(1);
      expect(await send()).toBe("ECONNRESET");
    });

    test("the last backend leaves and connections are to be reset", async () => {
      await become([f("a")]);
      const send = await connected();
      expect(await send()).toBe("heard");
      await become([f()], true);
      expect(await clean([f("a")], true)).toBe(1);
      expect(await send()).toBe("ECONNRESET");
    });

    test("a connection that was begun while there was no backend is made when one comes", async () => {
      await become([f()]);
      const attempt = connected();
      attempt.catch(() => {});
      let found = await ct.list({ family, protocol: 6 });
      for (let i = 0; i < 12_000 && found.length === 0; i++) {
        await Bun.sleep(1);
        found = await ct.list({ family, protocol: 6 });
      }
      expect(found.map((flow) => flow.status & (FLOW_STATUS.destinationNat | FLOW_STATUS.seenReply))).toEqual(
        [0],
      );
      await become([f("a")]);
      expect(await clean([f()])).toBe(1);
      // SYN is sent again after a second.
      const send = await attempt;
      expect(await send()).toBe("heard");
    });
  });
});
