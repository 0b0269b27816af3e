/**
 * The services thread: a worker that reads services, compiles them and brings them into the kernel, all of it here, so
 * that neither thirty thousand services nor a transaction of all their elements ever makes an ADD wait.
 */
import { describeError, systemClock } from "@weft/base";
import { openKernel } from "@weft/kernel";
import { ServicesEngine } from "./services/engine.ts";
import type { FromServices, ToServices } from "./services/messages.ts";
import { threadLogger } from "./thread-logger.ts";

declare const self: Worker;

const post = (message: FromServices): void => self.postMessage(message);

const logger = threadLogger((level, message) => post({ type: "log", level, message }));

let engine: ServicesEngine | undefined;

async function hear(message: ToServices): Promise<void> {
  switch (message.type) {
    case "start":
      engine = new ServicesEngine({ ...message, kernel: openKernel(), clock: systemClock, logger });
      break;
    case "settings":
      engine?.setSettings(message.settings);
      break;
    case "pause":
      engine?.pause(message.milliseconds);
      break;
    case "ask":
      try {
        post({ type: "answer", id: message.id, value: await engine?.answer(message.question) });
      } catch (error) {
        post({ type: "refusal", id: message.id, message: describeError(error) });
      }
      break;
    case "stop":
      await engine?.stop();
      post({ type: "stopped" });
  }
}

self.onmessage = (event: MessageEvent<ToServices>) => void hear(event.data).catch(reportError);
