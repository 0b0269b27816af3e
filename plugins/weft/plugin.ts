/**
 * The CNI plugin "weft": asks the node's agent, which does the work. Keys of its configuration, all optional:
 *
 *   socket     path of the agent's socket           /run/weft/agent.sock
 *   queue      directory of deletions for later     /var/lib/weft/deletions
 *
 * and the capability portMappings: ports of the node that lead to the container.
 */
import {
  type AddRequest,
  CniError,
  CODE,
  type DelRequest,
  OWN_CODE,
  type Plugin,
  type PluginRequest,
  parseCapabilityArguments,
  type Result,
} from "@weft/cni";
import { type Ask, askBySocket } from "./client.ts";
import { faultPoint, type PluginStep } from "./fault-points.ts";
import {
  type AddBody,
  type AttachmentRequest,
  type AttachmentResult,
  QUEUE_PATH,
  SOCKET_PATH,
} from "./protocol.ts";
import { dequeue, enqueue } from "./queue.ts";

interface Options {
  readonly socket: string;
  readonly queue: string;
}

/** The plugin, with its way to the agent: the socket, or inside of the agent the agent itself. */
export const createWeftPlugin = (ask: Ask): Plugin => ({
  name: "weft",
  about: "CNI plugin weft: attaches containers to the network of this node's Weft agent",
  versions: ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],

  async add(request) {
    const { socket } = optionsOf(request);
    step("plugin:add-read");
    const { portMappings = [] } = parseCapabilityArguments(request.configuration.runtimeConfig);
    const body: AddBody = { ...attachmentOf(request), portMappings };
    const answer = await ask<AttachmentResult>(socket, "/v1/cni/add", body);
    step("plugin:add-answered");
    return merge(request.previousResult, answer);
  },

  async del(request) {
    const { socket, queue } = optionsOf(request);
    const attachment = attachmentOf(request);
    step("plugin:del-read");
    try {
      await ask(socket, "/v1/cni/del", attachment);
      step("plugin:del-answered");
    } catch (error) {
      if (!isAway(error)) throw error;
      step("plugin:del-unheard");
      const file = enqueue(queue, attachment);
      step("plugin:del-queued");
      // The agent may have come up and read its queue between the two. What it has heard now must not wait in
      // the queue: read later, it would undo the next ADD of this container.
      await ask(socket, "/v1/cni/del", attachment).then(
        () => dequeue(file),
        () => {},
      );
    }
  },

  async check(request) {
    await ask(optionsOf(request).socket, "/v1/cni/check", attachmentOf(request));
  },

  async gc(request) {
    const body = { network: request.configuration.name, validAttachments: request.validAttachments };
    await ask(optionsOf(request).socket, "/v1/cni/gc", body);
  },

  async status(request) {
    try {
      await ask(optionsOf(request).socket, "/v1/cni/status", {});
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new CniError(CODE.pluginNotAvailable, message, { cause: error });
    }
  },
});

/** As a process of its own: over the agent's socket. */
export const weftPlugin: Plugin = createWeftPlugin(askBySocket);

const step: (name: PluginStep) => void = faultPoint;

const isAway = (error: unknown): boolean =>
  error instanceof CniError &&
  (error.cniCode === OWN_CODE.agentUnavailable || error.cniCode === OWN_CODE.deadlineExceeded);

function optionsOf(request: PluginRequest): Options {
  return {
    socket: pathOption(request, "socket", SOCKET_PATH),
    queue: pathOption(request, "queue", QUEUE_PATH),
  };
}

function pathOption(request: PluginRequest, key: string, preset: string): string {
  const value = request.configuration[key] ?? preset;
  if (typeof value === "string" && value.startsWith("/")) return value;
  throw new CniError(CODE.invalidConfiguration, `"${key}" must be an absolute path`, {
    hint: `Leave it out for ${preset}.`,
  });
}

function attachmentOf(request: AddRequest | DelRequest): AttachmentRequest {
  const pod = request.args.kubernetes;
  return {
    network: request.configuration.name,
    containerId: request.containerId,
    interface: request.interfaceName,
    namespacePath: request.networkNamespace,
    podNamespace: pod?.podNamespace,
    podName: pod?.podName,
    podUid: pod?.podUid,
  };
}

/** Our part behind that of the plugins before us: indexes of interfaces move along. */
function merge(previous: Result | undefined, own: AttachmentResult): Result {
  const shift = previous?.interfaces.length ?? 0;
  return {
    interfaces: [...(previous?.interfaces ?? []), ...own.interfaces],
    ips: [
      ...(previous?.ips ?? []),
      ...own.ips.map((ip) => (ip.interface === undefined ? ip : { ...ip, interface: ip.interface + shift })),
    ],
    routes: [...(previous?.routes ?? []), ...own.routes],
    dns: previous?.dns ?? {},
  };
}
