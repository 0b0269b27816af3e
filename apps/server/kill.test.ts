/** The server is killed in the middle of its work, again and again: what it had answered must be there. */
import { afterAll, expect, test } from "bun:test";
import { createClient, kubeconfigCredentials, type ResourceWatch, watchResource } from "@weft/cluster/client";
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
  /** Versions that were answered, "NAME@VERSION"; and those that a client has heard of that watches all the time. */
  const acknowledged = new Set<string>();
  const heard = new Set<string>();
  const rows = new Map<string, string>();
  let watch: ResourceWatch | undefined;
  const follow = (): ResourceWatch => {
    const credentials = kubeconfigCredentials({ path: `${directory}/kubeconfig.socket` });
    return watchResource<string>({
      client: createClient({ credentials }),
      path: MAPS,
      backoff: { first: 20, cap: 100 },
      decode: ({ metadata, ...rest }) => {
        heard.add(`${metadata.name}@${metadata.resourceVersion}`);
        return String((rest as { data?: { n?: string } }).data?.n);
      },
      onChange: ({ reset, changes }) => {
        if (reset) rows.clear();
        for (const { key, after } of changes) {
          if (after === undefined) rows.delete(key);
          else rows.set(key, after);
        }
      },
    });
  };
  for (let round = 0; round < 6; round++) {
    const server = await startProcess(directory);
    watch ??= follow();
    await watch.ready;
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

    // The client goes on where it was: it ends up with all of it, and has heard of each answered write.
    const wanted = new Map([...held].map(([name, n]) => [`default/${name}`, String(n)]));
    for (let i = 0; !Bun.deepEquals(rows, wanted) && i < 3000; i++) await Bun.sleep(20);
    expect(rows).toEqual(wanted);
    expect([...acknowledged].filter((one) => !heard.has(one))).toEqual([]);

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
            const written = created.status === 409 ? await ask("PUT", path, object) : created;
            expect([200, 201]).toContain(written.status);
            const { metadata } = (await written.json()) as Item;
            acknowledged.add(`${name}@${metadata.resourceVersion}`);
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
  // It listed once, and all the rest came from watches that were taken up again.
  expect([watch?.status().lists, (watch?.status().watches ?? 0) >= 6]).toEqual([1, true]);
  await watch?.stop();
  // What is left opens, and every object of it is as it was written.
  expect(backup(`${directory}/weft.db`, `${directory}/copy.db`).objects).toBeGreaterThan(4);
  const last = await startProcess(directory);
  expect(await last.stop()).toBe(0);
}, 300_000);
