import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CniError } from "@weft/cni";
import fc from "fast-check";
import type { AttachmentRequest } from "./protocol.ts";
import { dequeue, enqueue, queued, sweep } from "./queue.ts";

const root = mkdtempSync(join(tmpdir(), "weft-queue-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let sequence = 0;
const fresh = (): string => join(root, `${sequence++}`, "deletions");

const request = (containerId: string, more: Partial<AttachmentRequest> = {}): AttachmentRequest => ({
  network: "weft",
  containerId,
  interface: "eth0",
  namespacePath: undefined,
  podNamespace: undefined,
  podName: undefined,
  podUid: undefined,
  ...more,
});
/** As it comes back: JSON has no undefined. */
const plain = (r: AttachmentRequest): unknown => JSON.parse(JSON.stringify(r));

describe("the queue of deletions", () => {
  test("a directory that is not there is empty, and is made for root alone", () => {
    const directory = fresh();
    expect(queued(directory)).toEqual([]);
    const file = enqueue(directory, request("a", { namespacePath: "/run/netns/a" }));
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const [only] = queued(directory);
    expect(only?.file).toBe(file);
    expect(only?.request as unknown).toEqual(plain(request("a", { namespacePath: "/run/netns/a" })));
    dequeue(file);
    dequeue(file);
    expect(readdirSync(directory)).toEqual([]);
  });

  test("any requests: each once, whatever is in their names", () => {
    const name = fc.string({ unit: "binary", minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(fc.array(fc.tuple(name, name, name), { maxLength: 12 }), (triples) => {
        const directory = fresh();
        const all = triples.map(([network, id, ifname]) => request(id, { network, interface: ifname }));
        for (const r of [...all, ...all]) enqueue(directory, r);
        const key = (r: unknown): string => JSON.stringify(r);
        const back = queued(directory).map((q) => key(q.request));
        expect(back.sort()).toEqual([...new Set(all.map((r) => key(plain(r))))].sort());
      }),
      { numRuns: 30 },
    );
  });

  test("a damaged file is shown as such", () => {
    const directory = fresh();
    enqueue(directory, request("a"));
    for (const [i, text] of ["", "{", "null", "[]", '{"containerId":1,"interface":"eth0"}'].entries()) {
      writeFileSync(`${directory}/${i}.json`, text);
    }
    const good = queued(directory).flatMap((q) => q.request ?? []);
    expect(good.map((r) => r.containerId)).toEqual(["a"]);
    expect(queued(directory).length).toBe(6);
  });

  test("half-written files are no requests, and go when their writer is long gone", () => {
    const directory = fresh();
    enqueue(directory, request("a"));
    for (const name of ["old.json.7.tmp", "young.json.8.tmp"]) writeFileSync(`${directory}/${name}`, "{");
    utimesSync(`${directory}/old.json.7.tmp`, 1000, 1000);
    expect(queued(directory).length).toBe(1);
    sweep(directory, Date.now());
    expect(readdirSync(directory).filter((name) => name.endsWith(".tmp"))).toEqual(["young.json.8.tmp"]);
    sweep(fresh(), Date.now());
  });

  test("a directory that cannot be made is error 5 with a way out", () => {
    const directory = fresh();
    mkdirSync(join(directory, ".."), { recursive: true });
    writeFileSync(directory, "");
    const fail = (): unknown => {
      try {
        return enqueue(directory, request("a"));
      } catch (error) {
        return error;
      }
    };
    const error = fail();
    expect(error).toBeInstanceOf(CniError);
    expect((error as CniError).toResult("1.0.0")).toMatchObject({
      code: 5,
      details: expect.stringContaining("Free space there"),
    });
  });
});
