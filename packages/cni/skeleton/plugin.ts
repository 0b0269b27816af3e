/** What a plugin is: a name, the versions that it speaks, and a function for each command. */
import type { Attachment, NetworkConfiguration } from "../types/configuration.ts";
import type { Result } from "../types/result.ts";
import type { CniVersion } from "../types/version.ts";
import type { PluginArguments } from "./arguments.ts";

/** What every command gets. */
export interface PluginRequest {
  /** The version to answer in; the skeleton converts, so plugins seldom look. */
  readonly version: CniVersion;
  readonly configuration: NetworkConfiguration;
  readonly args: PluginArguments;
  /** Directories of CNI_PATH, for delegation. */
  readonly path: readonly string[];
  /** The configuration as it was read, for passing it on. */
  readonly stdin: Uint8Array;
}

interface AttachmentRequest extends PluginRequest {
  readonly containerId: string;
  readonly interfaceName: string;
}

export interface AddRequest extends AttachmentRequest {
  /** Path of the container's network namespace. */
  readonly networkNamespace: string;
  /** Result of the plugin before this one in the list. */
  readonly previousResult: Result | undefined;
}

export interface DelRequest extends AttachmentRequest {
  /** Absent when the runtime has none any more: then release everything that can be without it. */
  readonly networkNamespace: string | undefined;
  /** Result of the whole list at ADD. */
  readonly previousResult: Result | undefined;
}

export interface CheckRequest extends AttachmentRequest {
  readonly networkNamespace: string;
  /** Result of the whole list at ADD; later plugins may have changed what this one made. */
  readonly previousResult: Result;
}

export interface GcRequest extends PluginRequest {
  /** Whatever belongs to an attachment of this network that is not listed shall go. */
  readonly validAttachments: readonly Attachment[];
}

export type StatusRequest = PluginRequest;

type Awaitable<T> = T | Promise<T>;

export interface Plugin {
  /** File name of the executable. */
  readonly name: string;
  /** One line for somebody who runs the plugin by hand. */
  readonly about: string;
  readonly versions: readonly CniVersion[];
  /** Keys of CNI_ARGS that are known, Kubernetes' own apart. If given, others are refused unless IgnoreUnknown. */
  readonly arguments?: readonly string[];
  /** Must return the previous result, changed or not, when there is one. */
  add(request: AddRequest): Awaitable<Result>;
  /** Must succeed when there is nothing to delete. */
  del(request: DelRequest): Awaitable<void>;
  /** Throws what is wrong. */
  check(request: CheckRequest): Awaitable<void>;
  /** Absent: the plugin leaves nothing behind that DEL would not remove. */
  gc?(request: GcRequest): Awaitable<void>;
  /** Throws CniError 50 or 51 when no ADD can be served. Absent: always ready. */
  status?(request: StatusRequest): Awaitable<void>;
}
