/** Structured logging: one line per event, `time level message key=value`. Log only where an error is handled. */
import { writeSync } from "node:fs";

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Logger {
  log(level: LogLevel, message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/** Names and messages come from others: none of them may begin a line of its own or move a terminal's cursor. */
const printable = (text: string): string =>
  text.replaceAll(/\p{Cc}/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

/** A logger that hands finished lines to `write`, which gets no newline. */
export function createLogger(
  write: (line: string) => void,
  least: LogLevel = "info",
  now = Date.now,
): Logger {
  const log = (level: LogLevel, message: string, fields: LogFields = {}): void => {
    if (RANK[level] < RANK[least]) return;
    let line = `${new Date(now()).toISOString()} ${level.padEnd(5)} ${printable(message)}`;
    for (const [k, v] of Object.entries(fields)) {
      if (v === undefined) continue;
      const s = String(v);
      line += ` ${k}=${/^[^\s"=\p{Cc}]+$/u.test(s) ? s : printable(JSON.stringify(s))}`;
    }
    write(line);
  };
  return {
    log,
    debug: (m, f) => log("debug", m, f),
    info: (m, f) => log("info", m, f),
    warn: (m, f) => log("warn", m, f),
    error: (m, f) => log("error", m, f),
  };
}

/** Writes to a file descriptor; a reader that is gone never ends the program. */
export const fdWriter =
  (fd: number) =>
  (line: string): void => {
    try {
      writeSync(fd, `${line}\n`);
    } catch {
      // The log's reader is gone: there is nobody left to tell.
    }
  };

export const silentLogger: Logger = createLogger(() => {}, "error");
