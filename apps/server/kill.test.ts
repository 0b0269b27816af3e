/** The server is killed in the middle of its work, again and again: what it had answered must be there. */
import { afterAll, expect, test } from "bun:test";
import { backup } from "@weft/cluster/server";
import { removeDirectory, startProcess, temporaryDirectory } from "./testing/process.ts";

const directory = temporaryDirectory();
afterAll(() => removeDirectory(directory));

const MAPS = "/api/v1/namespaces/default/configmaps";
interface Item {
  metadata: { name: string; resourceVersion: string };
  data?: { n: string };
}

test("no answered write is lost, versions only grow, and a watch goes on where it was", async () => {
  /** Of each name what was answered last; undefined for a deletion. */
  const told = new Map<string, string | undefined>();
  /** Of a write that was not answered: it may have happened or not. */
  const unsure = new Set<string>();
  let version = "";
  let answered = 0;
  for (let round = 0; round < 6; round++) {
    const server = await startProcess(directory);
    const ask = async (method: string, path: string, body?: unknown): Promise<Response> =>
      fetch(`http://server${path}`, {
        method,
        unix: server.socket,
        ...(body === undefined
          ? {}
          : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
      });

    const { items, metadata } = (await (await ask("GET", MAPS)).json()) as {
      items: Item[];
      metadata: { resourceVersion: string };
    };
    const held = new Map(items.map((item) => [item.metadata.name, item.data?.n]));
    for (const [name, n] of told) if (!unsure.has(name)) expect([name, held.get(name)]).toEqual([name, n]);
    for (const name of held.keys()) expect(told.has(name) || unsure.has(name)).toBe(true);
    expect(Number(metadata.resourceVersion)).toBeGreaterThanOrEqual(Number(version || 0));
    if (version !== "") {
      const query = `watch=true&resourceVersion=${version}&timeoutSeconds=1`;
      const events = (await (await ask("GET", `${MAPS}?${query}`)).text())
        .split("\n")
        .filter((line) => line !== "");
      const versions = events.map((line) =>
        Number((JSON.parse(line) as { object: Item }).object.metadata.resourceVersion),
      );
      expect(versions).toEqual([...versions].sort((a, b) => a - b));
      expect(versions.every((v) => v > Number(version))).toBe(true);
    }
    version = metadata.resourceVersion;
    told.clear();
    unsure.clear();
    for (const [name, n] of held) told.set(name, n);

    let dead = false;
    const write = async (worker: number): Promise<void> => {
      for (let i = 0; !dead; i++) {
        const name = `w${worker}-${i % 5}`;
        const n = `${round}-${i}`;
        unsure.add(name);
        try {
          const path = `${MAPS}/${name}`;
          const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { n } };
          const created = await ask("POST", MAPS, object);
          if (created.status === 409 && i % 3 === 0) {
            expect((await ask("DELETE", path)).status).toBe(200);
            told.set(name, undefined);
          } else {
            if (created.status === 409) expect((await ask("PUT", path, object)).status).toBe(200);
            else expect(created.status).toBe(201);
            told.set(name, n);
          }
          unsure.delete(name);
          answered++;
        } catch (error) {
          // Only a connection that ended with the server may fail.
          if (!dead) throw error;
        }
      }
    };
    const workers = [0, 1, 2, 3].map(write);
    await Bun.sleep(300 + Math.random() * 400);
    dead = true;
    await server.kill();
    await Promise.all(workers);
  }
  expect(answered).toBeGreaterThan(20);
  // What is left opens, and every object of it is as it was written.
  expect(backup(`${directory}/weft.db`, `${directory}/copy.db`).objects).toBeGreaterThan(4);
  const last = await startProcess(directory);
  expect(await last.stop()).toBe(0);
}, 300_000);
