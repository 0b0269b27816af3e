import { expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger, fdWriter, type LogLevel, silentLogger } from "./logger.ts";

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

test("one line an event, with its fields", () => {
  const lines: string[] = [];
  const logger = createLogger(
    (line) => lines.push(line),
    "debug",
    () => 0,
  );
  logger.info("ready", {
    workloads: 3,
    name: "a b",
    quote: 'x"y',
    equal: "a=b",
    empty: "",
    none: undefined,
    yes: true,
  });
  expect(lines).toEqual([
    '1970-01-01T00:00:00.000Z info  ready workloads=3 name="a b" quote="x\\"y" equal="a=b" empty="" yes=true',
  ]);
});

test("what others wrote cannot begin a line of its own or move the cursor", () => {
  const lines: string[] = [];
  const logger = createLogger((line) => lines.push(line));
  logger.warn("failed\nINFO all is well", { pod: "a\nb", escape: "\u001b[2J", del: "\u007f" });
  expect(lines).toHaveLength(1);
  expect(lines[0]).not.toMatch(/\p{Cc}/u);
});

test("levels below the least are left out", () => {
  for (const least of LEVELS) {
    const lines: string[] = [];
    const logger = createLogger((line) => lines.push(line), least);
    for (const level of LEVELS) {
      logger[level]("by name");
      logger.log(level, "by level");
    }
    const wanted = LEVELS.slice(LEVELS.indexOf(least)).flatMap((level) => [level, level]);
    expect(lines.map((line) => line.split(" ")[1] as LogLevel)).toEqual(wanted);
  }
  silentLogger.error("nobody hears this");
});

test("a descriptor gets whole lines, and one that is gone does no harm", () => {
  const directory = mkdtempSync(join(tmpdir(), "weft-log-"));
  try {
    const file = join(directory, "log");
    const fd = openSync(file, "w");
    const write = fdWriter(fd);
    write("one");
    write("two");
    closeSync(fd);
    expect(readFileSync(file, "utf8")).toBe("one\ntwo\n");
    fdWriter(1 << 20)("into nowhere");
  } finally {
    rmSync(directory, { recursive: true });
  }
});
