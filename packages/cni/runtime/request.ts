/** What one plugin of a list is given (specification section 3, "Deriving request configuration from plugin configuration"). */

import type { CapabilityArguments } from "../types/capabilities.ts";
import {
  type Attachment,
  type NetworkConfigurationList,
  type PluginConfiguration,
  VALID_ATTACHMENTS_KEYS,
} from "../types/configuration.ts";
import { formatResult } from "../types/format-result.ts";
import { compact, type JsonObject } from "../types/json.ts";
import type { Result } from "../types/result.ts";
import type { CniVersion } from "../types/version.ts";

export interface RequestParts {
  readonly previousResult?: Result | undefined;
  readonly capabilityArguments?: CapabilityArguments | undefined;
  readonly validAttachments?: readonly Attachment[] | undefined;
}

/** The configuration for one plugin: name and version of the list, the runtime's values, and its own keys unchanged. */
export function deriveConfiguration(
  list: NetworkConfigurationList,
  plugin: PluginConfiguration,
  version: CniVersion,
  parts: RequestParts,
): JsonObject {
  const { capabilities = {}, runtimeConfig: configured, prevResult: _, ...own } = plugin;
  const kept = Object.entries(own).filter(([key]) => !key.startsWith("cni.dev/"));
  const supplied = Object.entries(parts.capabilityArguments ?? {}).filter(
    ([key, value]) => capabilities[key] === true && value !== undefined,
  );
  const runtimeConfig = { ...(configured as object | undefined), ...Object.fromEntries(supplied) };
  const previous = parts.previousResult;
  const attachments = parts.validAttachments?.map((a) => ({
    containerID: a.containerId,
    ifname: a.interfaceName,
  }));
  return compact({
    ...Object.fromEntries(kept),
    cniVersion: version,
    name: list.name,
    runtimeConfig: Object.keys(runtimeConfig).length === 0 ? undefined : runtimeConfig,
    prevResult: previous === undefined ? undefined : formatResult(previous, version),
    ...Object.fromEntries(VALID_ATTACHMENTS_KEYS.map((key) => [key, attachments])),
  });
}
