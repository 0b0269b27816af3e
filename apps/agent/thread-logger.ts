/** The log of a thread: its lines go to the main thread, which adds the time. */
import { createLogger, type Logger } from "@weft/base";

/** "TIME LEVEL MESSAGE": time and level have one length. */
const LEVEL_AT = 25;
const MESSAGE_AT = 31;

/** `tell` gets each line's level, and its message with the fields behind it. */
export const threadLogger = (tell: (level: "info" | "warn" | "error", message: string) => void): Logger =>
  createLogger((line) => {
    const level = line.slice(LEVEL_AT, MESSAGE_AT).trimEnd();
    tell(level === "warn" || level === "error" ? level : "info", line.slice(MESSAGE_AT));
  });
