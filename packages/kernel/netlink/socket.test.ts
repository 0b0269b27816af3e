import { afterAll, beforeAll, expect, test } from "bun:test";
import { isBusy, isExists, isInvalid, isNotFound, isUnsupported } from "@weft/base";
import { createAnonymous, type NetnsHandle } from "../netns/index.ts";
import { SysError } from "../sys/errno.ts";
import { NETLINK, NLM } from "./constants.ts";
import { Attributes } from "./message.ts";
import { NetlinkSocket } from "./socket.ts";
import { NetlinkWriter } from "./writer.ts";

const NEW_LINK = 16;
const DEL_LINK = 17;
const GET_LINK = 18;
const IFNAME = 3;
const HEADER = new Uint8Array(16);

let namespace: NetnsHandle;
let socket: NetlinkSocket;
beforeAll(() => {
  namespace = createAnonymous();
  socket = new NetlinkSocket(NETLINK.route, { namespace: namespace.fd });
});
afterAll(() => {
  socket.close();
  namespace.close();
});

const link = (writer: NetlinkWriter, flags: number, name: string, kind: string): NetlinkWriter =>
  writer
    .begin(NEW_LINK, flags | NLM.create | NLM.excl)
    .raw(HEADER)
    .string(IFNAME, name)
    .nest(18, (info) => info.string(1, kind));
const byName = (type: number, name: string): Uint8Array =>
  new NetlinkWriter().begin(type, 0).raw(HEADER).string(IFNAME, name).finish();
const names = (): (string | undefined)[] =>
  socket
    .dump(new NetlinkWriter().begin(GET_LINK, 0).raw(HEADER).finish(), { call: "RTM_GETLINK" })
    .map((m) => new Attributes(m.payload, 16).string(IFNAME));

test("a request, its answer and its error", () => {
  expect(names()).toEqual(["lo"]);
  const [answer, ...rest] = socket.request(byName(GET_LINK, "lo"), { call: "RTM_GETLINK" });
  expect(rest).toEqual([]);
  expect(new Attributes(answer?.payload ?? HEADER, 16).string(IFNAME)).toBe("lo");
  let caught: unknown;
  try {
    socket.request(byName(GET_LINK, "weft0"), { call: "RTM_GETLINK", object: "link weft0" });
  } catch (error) {
    caught = error;
  }
  expect(isNotFound(caught)).toBe(true);
  expect(String(caught)).toContain("RTM_GETLINK link weft0: ENODEV");
});

test("the kernel's own words are in the error", () => {
  let caught: unknown;
  try {
    socket.request(link(new NetlinkWriter(), 0, "weft0", "weftless").finish(), { call: "RTM_NEWLINK" });
  } catch (error) {
    caught = error;
  }
  expect(isUnsupported(caught)).toBe(true);
  expect(caught).toMatchObject({ kernelMessage: "Unknown device type" });
  try {
    socket.request(link(new NetlinkWriter(), 0, "a-name-that-is-too-long", "bridge").finish(), { call: "x" });
  } catch (error) {
    caught = error;
  }
  expect(isInvalid(caught)).toBe(true);
  // The name's attribute stands behind the two headers of 16 bytes each.
  expect((caught as SysError).offset).toBe(32);
});

test("strict checking refuses what a filter does not know", () => {
  const message = new NetlinkWriter().begin(GET_LINK, 0).raw(HEADER).u32(4, 1500).finish();
  expect(() => socket.dump(message, { call: "RTM_GETLINK" })).toThrow(SysError);
});

test("a batch does all that it can, and tells by index what it could not", async () => {
  const writer = new NetlinkWriter();
  const flags = NLM.request | NLM.ack;
  for (const name of ["weft0", "weft0", "weft1"]) link(writer, flags, name, "bridge");
  link(writer, NLM.request, "weft1", "bridge");
  const result = socket.batch(writer.finish(), { call: "RTM_NEWLINK", object: "bridges" });
  expect(result.acknowledged).toBe(2);
  expect([...result.errors.keys()]).toEqual([1, 3]);
  expect([...result.errors.values()].every(isExists)).toBe(true);
  expect(names()).toEqual(["lo", "weft0", "weft1"]);
  for (const name of ["weft0", "weft1"]) {
    await socket.requestAsync(byName(DEL_LINK, name), { call: "RTM_DELLINK" });
  }
  expect(names()).toEqual(["lo"]);
});

test("a socket with a request on another thread is busy, and closes after it", async () => {
  const own = new NetlinkSocket(NETLINK.route, { namespace: namespace.fd });
  own.request(link(new NetlinkWriter(), 0, "weft0", "bridge").finish(), { call: "RTM_NEWLINK" });
  const deletion = own.requestAsync(byName(DEL_LINK, "weft0"), { call: "RTM_DELLINK" });
  let caught: unknown;
  try {
    own.request(byName(GET_LINK, "lo"), { call: "RTM_GETLINK" });
  } catch (error) {
    caught = error;
  }
  expect(isBusy(caught)).toBe(true);
  await deletion;
  const failed = own.requestAsync(byName(DEL_LINK, "weft0"), { call: "RTM_DELLINK" });
  own.close();
  expect(
    await failed.then(
      () => "done",
      () => "failed",
    ),
  ).toBe("failed");
  expect(() => own.fd).toThrow("closed");
  own.close();
});

test("a batch beyond the send buffer is refused as a whole", () => {
  const small = new NetlinkSocket(NETLINK.route, { namespace: namespace.fd, sendBuffer: 4096 });
  const writer = new NetlinkWriter();
  for (let i = 0; i < 1000; i++) link(writer, NLM.request, `weft${i}`, "bridge");
  let caught: unknown;
  try {
    small.batch(writer.finish(), { call: "RTM_NEWLINK" });
  } catch (error) {
    caught = error;
  }
  expect(isInvalid(caught)).toBe(true);
  expect(names()).toEqual(["lo"]);
  small.close();
});

test("a dump on another thread has what a dump has, and the socket is taken meanwhile", async () => {
  const dump = (type: number): Uint8Array => new NetlinkWriter().begin(type, 0).raw(HEADER).finish();
  const found: (string | undefined)[] = [];
  const done = socket.dumpAsync(dump(GET_LINK), { call: "RTM_GETLINK" }, (m) =>
    found.push(new Attributes(m.payload, 16).string(IFNAME)),
  );
  expect(found).toEqual([]);
  let caught: unknown;
  try {
    names();
  } catch (error) {
    caught = error;
  }
  expect(isBusy(caught)).toBe(true);
  await done;
  expect(found).toEqual(names());
  // No such message type.
  const refused = await socket
    .dumpAsync(dump(1022), { call: "1022", object: "nothing" }, () => {})
    .catch((e) => e);
  expect(refused).toBeInstanceOf(SysError);
  expect(String(refused)).toContain("1022 nothing: E");
  expect(names()).toEqual(found);
});

test("a socket that is closed during a dump is closed after it", async () => {
  const own = new NetlinkSocket(NETLINK.route, { namespace: namespace.fd });
  const request = new NetlinkWriter().begin(GET_LINK, 0).raw(HEADER).finish();
  let count = 0;
  const done = own.dumpAsync(request, { call: "RTM_GETLINK" }, () => count++);
  own.close();
  await done;
  expect(count).toBeGreaterThan(0);
  expect(() => own.fd).toThrow("closed");
});
