import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger, parseIp, parsePrefix } from "@weft/base";
import { createServices, type Services } from "@weft/compile";
import type { EndpointSlice, Service } from "@weft/model";
import { ServiceCopy } from "./copy.ts";

let directory: string;
let file: string;
let said: string[];
const logger = createLogger((line) => said.push(line));
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "weft-copy-test-"));
  file = join(directory, "services.sqlite");
  said = [];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const empty = (): Services =>
  createServices({
    onError: (error) => {
      throw error;
    },
  });
const service = (name: string): Service => ({
  namespace: "default",
  name,
  created: "",
  type: "ClusterIP",
  clusterIPs: [{ ip: parseIp("10.96.0.1"), field: "spec.clusterIPs[0]" }],
  externalIPs: [],
  loadBalancerIPs: [],
  ports: [{ name: "", protocol: "tcp", port: 80, index: 0 }],
  internalLocal: false,
  externalLocal: false,
  sourceRanges: [parsePrefix("10.0.0.0/8")],
});
const slice = (name: string): EndpointSlice => ({
  namespace: "default",
  name,
  service: "web",
  family: 4,
  ports: [{ name: "", protocol: "tcp", port: 8080 }],
  endpoints: [{ ip: parseIp("10.244.1.5"), state: "ready", node: "n1", forZones: ["a"] }],
});

const tables = (s: Services): unknown =>
  [s.nodes, s.blocks, s.ranges, s.services, s.slices].map((t) => [...(t.rows() as readonly unknown[])]);

/** Opens the copy as an agent does at its start. */
function start(): { copy: ServiceCopy; services: Services; known: boolean } {
  const copy = new ServiceCopy(file, logger);
  const services = empty();
  const known = services.database.write(() => copy.load(services));
  return { copy, services, known };
}

test("what was in the tables is in them at the next start, to the last change", () => {
  const first = start();
  expect(first.known).toBe(false);
  const { services: s, copy } = first;
  s.database.write(() => {
    s.services.put(service("web"));
    s.slices.put(slice("gone"));
    s.nodes.put({ name: "n1", addresses: [], zone: "a", origin: { kind: "Node", name: "n1" } });
    s.blocks.put({ prefix: parsePrefix("10.244.1.0/24"), node: "n1", origin: { kind: "Node", name: "n1" } });
    s.ranges.put({ prefix: parsePrefix("10.96.0.0/16"), origin: { kind: "ServiceCIDR", name: "k" } });
  });
  copy.follow(s);
  s.database.write(() => {
    s.services.put(service("other"));
    s.slices.put(slice("web-1"));
    s.slices.delete("default/gone");
  });
  // Killed: not closed.
  const second = start();
  expect(second.known).toBe(true);
  expect(tables(second.services)).toEqual(tables(s));
  copy.close();
  second.copy.close();
  expect(said).toEqual([]);
});

test("what the cluster no longer has when it answers again is forgotten", () => {
  const first = start();
  first.services.database.write(() => first.services.services.put(service("web")));
  first.copy.follow(first.services);
  first.copy.close();
  const second = start();
  second.services.database.write(() => second.services.services.replaceAll([service("new")]));
  second.copy.follow(second.services);
  second.copy.close();
  expect(
    start()
      .services.services.rows()
      .map((s) => s.name),
  ).toEqual(["new"]);
});

test.each([
  ["no database", "not a database at all, but a text of some length"],
  ["an empty file", ""],
])("%s is made anew", (_, text) => {
  writeFileSync(file, text);
  const { copy, services, known } = start();
  expect(known).toBe(false);
  services.database.write(() => services.services.put(service("web")));
  copy.follow(services);
  copy.close();
  expect(start().known).toBe(true);
});

test("a row that is damaged, and a directory that is not there, are said and stop nothing", () => {
  const { copy, services } = start();
  services.database.write(() => services.services.put(service("web")));
  copy.follow(services);
  copy.close();
  for (const name of readdirSync(directory)) {
    const path = join(directory, name);
    writeFileSync(
      path,
      Buffer.from(readFileSync(path).toString("latin1").replaceAll('"namespace"', '"namesp"ace'), "latin1"),
    );
  }
  expect(start().known).toBe(false);
  expect(said.join()).toContain("the copy of the services cannot be read");
  rmSync(directory, { recursive: true });
  const without = start();
  without.copy.follow(without.services);
  without.services.database.write(() => without.services.services.put(service("web")));
  without.copy.close();
  expect(said.join()).toContain("cannot be made anew");
});

test("what could not be written is, with the next change", () => {
  const { copy, services: s } = start();
  copy.follow(s);
  s.database.write(() => s.services.put(service("stays")));
  const other = new Database(file);
  other.run("BEGIN IMMEDIATE");
  s.database.write(() => {
    s.services.put(service("missed"));
    s.services.delete("default/stays");
  });
  expect(said.join()).toContain("cannot be written");
  other.run("ROLLBACK");
  other.close();
  s.database.write(() => s.slices.put(slice("next")));
  const now = tables(s);
  copy.close();
  const again = start();
  expect(tables(again.services)).toEqual(now);
  again.copy.close();
});
