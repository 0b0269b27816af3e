/** What can go wrong with a plugin's execution, apart from the errors that the plugin itself reports. */
import { type ErrorCode, WeftError } from "@weft/base";

export type ExecutionFailure =
  | "absent" // no directory of the path has the executable
  | "not-executable"
  | "spawn" // the system would not start it
  | "timeout"
  | "killed" // by a signal that was not ours
  | "exit" // failed without printing an error
  | "output"; // succeeded, but printed what is no result

const WEFT_CODE: Readonly<Record<ExecutionFailure, ErrorCode>> = {
  absent: "not-found",
  "not-executable": "permission",
  spawn: "internal",
  timeout: "timeout",
  killed: "internal",
  exit: "internal",
  output: "invalid",
};

export interface ExecutionErrorOptions {
  readonly plugin: string;
  readonly command?: string;
  /** What the plugin wrote to standard error; its end is added to the message. */
  readonly stderr?: string;
  readonly hint?: string;
  readonly cause?: unknown;
}

const STDERR_SHOWN = 1000;

export class PluginExecutionError extends WeftError {
  readonly failure: ExecutionFailure;
  readonly plugin: string;

  constructor(failure: ExecutionFailure, message: string, options: ExecutionErrorOptions) {
    const { plugin, command, stderr = "", hint, cause } = options;
    const tail = stderr.trim().slice(-STDERR_SHOWN);
    super(WEFT_CODE[failure], tail === "" ? message : `${message}; it wrote: ${tail}`, {
      object: command === undefined ? `plugin ${plugin}` : `plugin ${plugin} (${command})`,
      ...(hint === undefined ? {} : { hint }),
      ...(cause === undefined ? {} : { cause }),
    });
    this.name = "PluginExecutionError";
    this.failure = failure;
    this.plugin = plugin;
  }
}
