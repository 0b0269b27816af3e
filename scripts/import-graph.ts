/**
 * The import graph of the rooms, read from the sources. A room is a folder with a package.json; what it may
 * import is its `dependencies`, its own files, and Node's and Bun's own modules unless it must know no I/O.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";

export interface Room {
  readonly folder: string;
  readonly name: string;
  readonly allowed: readonly string[];
}

/** Rooms that are pure: no file, no socket, no clock of the machine. */
const PURE = new Set(["@weft/model", "@weft/compile"]);
/** The only folder with foreign function calls. */
const FFI_HOME = "packages/kernel/sys/";
const FFI = /koffi|^bun:ffi$/;

export function readRooms(root: string): Room[] {
  const { workspaces } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    workspaces: string[];
  };
  return workspaces
    .flatMap((pattern) => [...new Bun.Glob(`${pattern}/package.json`).scanSync(root)])
    .filter((file) => !file.includes("node_modules"))
    .map((file) => {
      const manifest = JSON.parse(readFileSync(join(root, file), "utf8")) as {
        name: string;
        dependencies?: Record<string, string>;
      };
      return {
        folder: dirname(file),
        name: manifest.name,
        allowed: Object.keys(manifest.dependencies ?? {}),
      };
    })
    .sort((a, b) => (a.folder < b.folder ? -1 : 1));
}

/** Every import of a source text, static, dynamic, re-exported or required. */
export function importsOf(source: string): string[] {
  const code = source.replaceAll(/^\s*(\/\/|\*|\/\*).*$/gm, "");
  const found = code.matchAll(/(?:(?<=[\s}*])from\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)"([^"\n$\s,]+)"/g);
  return [...found].map((m) => m[1] as string);
}

/** Faults of one file; empty when it keeps the rules. */
export function faultsOf(room: Room, file: string, source: string): string[] {
  const faults: string[] = [];
  const isTest = file.endsWith(".test.ts");
  for (const target of importsOf(source)) {
    if (FFI.test(target) && !file.startsWith(FFI_HOME))
      faults.push(`${file}: imports ${target} outside of ${FFI_HOME}`);
    if (target.startsWith(".")) {
      const path = normalize(join(dirname(file), target));
      if (relative(room.folder, path).startsWith("..")) faults.push(`${file}: ${target} leaves the room`);
    } else if (target.startsWith("node:") || target.startsWith("bun")) {
      if (PURE.has(room.name) && !isTest)
        faults.push(`${file}: ${room.name} knows no I/O, but imports ${target}`);
    } else {
      const name = target.startsWith("@")
        ? target.split("/").slice(0, 2).join("/")
        : (target.split("/")[0] as string);
      const own =
        name === room.name || FFI.test(name) || (isTest && name === "fast-check") || name === "fast-check";
      if (!own && !room.allowed.includes(name))
        faults.push(`${file}: ${name} is not among the dependencies of ${room.name}`);
    }
  }
  return faults;
}

/** A cycle of rooms by their dependencies, or undefined. */
export function cycleOf(rooms: readonly Room[]): string[] | undefined {
  const byName = new Map(rooms.map((r) => [r.name, r]));
  const done = new Set<string>();
  const visit = (name: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(name)) return [...path.slice(path.indexOf(name)), name];
    if (done.has(name)) return undefined;
    for (const next of byName.get(name)?.allowed ?? []) {
      const cycle = byName.has(next) ? visit(next, [...path, name]) : undefined;
      if (cycle !== undefined) return cycle;
    }
    done.add(name);
    return undefined;
  };
  for (const room of rooms) {
    const cycle = visit(room.name, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

/** Every fault of the checkout. */
export function checkGraph(root: string): string[] {
  const rooms = readRooms(root);
  const faults: string[] = [];
  for (const room of rooms) {
    const used = new Set<string>();
    for (const path of new Bun.Glob("**/*.ts").scanSync(join(root, room.folder))) {
      const file = join(room.folder, path);
      if (file.includes("node_modules")) continue;
      const source = readFileSync(join(root, file), "utf8");
      faults.push(...faultsOf(room, file, source));
      for (const target of importsOf(source))
        used.add(target.split("/").slice(0, 2).join("/")).add(target.split("/")[0] as string);
    }
    for (const name of room.allowed)
      if (!used.has(name)) faults.push(`${room.folder}/package.json: ${name} is never imported`);
    if (used.size > 0 && !existsSync(join(root, room.folder, "README.md")))
      faults.push(`${room.folder}: has no README.md`);
  }
  const cycle = cycleOf(rooms);
  if (cycle !== undefined) faults.push(`rooms import each other in a circle: ${cycle.join(" -> ")}`);
  return faults;
}
