/** Where services come from: the directory of manifests, or the Kubernetes API with a copy of what it said last. */
import type { Logger } from "@weft/base";
import { watchDirectory } from "@weft/cluster";
import { type ApiClient, createClient, loadCredentials, watchServices } from "@weft/cluster/client";
import type { Services } from "@weft/compile";
import type { ClusterSource } from "../cluster-source.ts";
import { ServiceCopy } from "./copy.ts";

export interface ServicesSource {
  /** In one line: where the rows come from, and whether it answers. */
  state(): string;
  errors(): readonly string[];
  /** Undefined where there is no API to write to. */
  readonly client: ApiClient | undefined;
  stop(): Promise<void>;
}

export interface SourceOptions {
  readonly source: ClusterSource;
  readonly node: string;
  readonly copy: string;
  readonly services: Services;
  /** One commit of the services' database. */
  readonly write: (change: () => void) => void;
  /** The tables hold a whole state for the first time: the copy's, or what was read. */
  readonly onKnown: () => void;
  readonly logger: Logger;
}

/** Throws "invalid" or "not-found" for bad credentials. */
export function startSource(options: SourceOptions): ServicesSource {
  return options.source.kind === "directory"
    ? fromDirectory(options, options.source.directory)
    : fromApi(options, options.source.kubeconfig);
}

function fromDirectory({ services, write, onKnown }: SourceOptions, directory: string): ServicesSource {
  let errors: readonly string[] = [];
  const watch = watchDirectory(directory, (rows) => {
    errors = rows.errors;
    write(() => {
      services.nodes.replaceAll(rows.nodes);
      services.blocks.replaceAll(rows.blocks);
      services.ranges.replaceAll(rows.serviceRanges);
      services.services.replaceAll(rows.services);
      services.slices.replaceAll(rows.endpointSlices);
    });
  });
  onKnown();
  return {
    state: () => `manifests in ${directory}`,
    errors: () => errors,
    client: undefined,
    stop: async () => watch.stop(),
  };
}

function fromApi(options: SourceOptions, kubeconfig: string | undefined): ServicesSource {
  const { services, write, onKnown, logger, node } = options;
  const client = createClient({
    credentials: loadCredentials(kubeconfig === undefined ? {} : { path: kubeconfig }),
    userAgent: `weft-agent/${node}`,
    logger,
  });
  const copy = new ServiceCopy(options.copy, logger);
  let known = false;
  write(() => {
    known = copy.load(services);
  });
  if (known) onKnown();
  const watch = watchServices({ client, tables: services, write, logger });
  watch.ready.then(
    () => {
      copy.follow(services);
      onKnown();
    },
    () => {},
  );
  return {
    state() {
      const states = Object.values(watch.status());
      const away = states.find((s) => s.awaySince !== undefined && s.synced) ?? states.find((s) => !s.synced);
      const text = `Kubernetes API ${client.server}`;
      if (away === undefined) return `${text}: watching`;
      const since =
        away.awaySince === undefined ? "" : `, away since ${new Date(away.awaySince).toISOString()}`;
      return `${text}: ${away.path} ${away.state}${since}${away.lastError === undefined ? "" : ` (${away.lastError})`}`;
    },
    errors: () => watch.errors(),
    client,
    async stop() {
      await watch.stop();
      copy.close();
      client.close();
    },
  };
}
