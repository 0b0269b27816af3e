/**
 * `weft agent --only services`: the services thread alone, beside whatever CNI plugin the node has. Takes the place of
 * kube-proxy and nothing else: no plugin socket calls, no links, no routes; the socket answers for status.
 */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { SERVICES_TABLE } from "@weft/apply";
import { createLogger, describeError, fdWriter, type Logger, WeftError } from "@weft/base";
import { watchSettings } from "@weft/cluster";
import { openKernel } from "@weft/kernel";
import type { AgentStatus, Settings } from "@weft/model";
import type { RunningAgent } from "./agent.ts";
import { LastSettings } from "./last-settings.ts";
import { beAlone } from "./only-one.ts";
import type { AgentOptions } from "./options.ts";
import { pauseRequest } from "./requests.ts";
import { type Handler, serveSocket } from "./server.ts";
import { ServicesThread } from "./services-client.ts";
import { serviceRoutes } from "./services-routes.ts";
import { readUnderlay } from "./underlay.ts";
import { VERSION } from "./version.ts";

export async function startServicesAgent(
  options: AgentOptions,
  logger: Logger = createLogger(fdWriter(2)),
): Promise<RunningAgent> {
  const startedAt = Date.now();
  logger.info("starting, for services only", { version: VERSION, node: options.node, pid: process.pid });
  const kernel = openKernel();
  const letGo = await beAlone(dirname(options.socket), logger);
  mkdirSync(dirname(options.servicesCopy), { recursive: true, mode: 0o700 });
  const services = new ServicesThread({
    node: options.node,
    source: options.source,
    copy: options.servicesCopy,
    hasLeftovers: () => kernel.nftables.tableExists("inet", SERVICES_TABLE),
    logger,
  });
  const last = new LastSettings(options.lastSettings, (error) =>
    logger.warn("cannot keep the settings", { error: describeError(error) }),
  );
  let settings: Settings | undefined;
  let settingsError: string | undefined;
  const watch = watchSettings(options.settingsFile, (given, error) => {
    // An invalid file at the start: what was in force last, as the whole agent does it.
    settings = error === undefined ? given : (settings ?? last.read() ?? given);
    settingsError = error;
    if (error === undefined) last.keep(settings);
    else logger.warn("settings are not taken over", { error });
    services.settings(settings);
  });
  let pausedUntil = 0;

  const status = async (): Promise<AgentStatus> => {
    const state = await services.status();
    const cpu = process.cpuUsage();
    return {
      version: VERSION,
      node: options.node,
      pid: process.pid,
      startedAt,
      ready: state.state !== "waiting",
      waitingFor: state.state === "waiting" ? state.why : undefined,
      pausedUntil: Date.now() < pausedUntil ? pausedUntil : undefined,
      settings: settings as Settings,
      settingsError,
      context: undefined,
      underlay: readUnderlay(kernel.self),
      peers: [],
      workloads: [],
      plan: [],
      problems: [],
      foreignChains: [],
      blocks: [],
      memory: process.memoryUsage.rss(),
      cpuSeconds: (cpu.user + cpu.system) / 1e6,
      source: state.source,
      sourceErrors: [],
      services: state,
    };
  };
  const noPlugin = (): Promise<never> =>
    Promise.reject(
      new WeftError("unsupported", "this agent serves services only, and takes no pods", {
        hint: "Start it without --only services to have Weft as the network plugin.",
      }),
    );
  const routes: Readonly<Record<string, Handler>> = {
    "GET /v1/status": status,
    "POST /v1/alive": async () => ({}),
    "POST /v1/cni/status": noPlugin,
    "GET /v1/drift": () => services.ask({ about: "drift" }),
    "POST /v1/pause": async (body) => {
      const milliseconds = pauseRequest(body);
      pausedUntil = Date.now() + milliseconds;
      services.pause(milliseconds);
      return { pausedUntil: milliseconds > 0 ? pausedUntil : undefined };
    },
    ...serviceRoutes(services),
  };
  const server = serveSocket(options.socket, routes, noPlugin, logger);
  return {
    async stop() {
      watch.stop();
      await server.stop();
      await services.stop();
      letGo();
      logger.info("stopped");
    },
  };
}
