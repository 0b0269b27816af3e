/** Where an API server is, whom to believe that it is the one, and what to show to it. */

/** Whom to believe. */
export interface Trust {
  /** PEM certificates; undefined: the authorities of the system and those that Bun brings. */
  readonly ca: string | undefined;
  /** Where `ca` is from, for messages: "certificate-authority of cluster kind of /root/.kube/config". */
  readonly caSource: string;
  /** Name that the server's certificate must bear, when it is not the host of the URL. */
  readonly serverName: string | undefined;
  /** Accept any certificate. */
  readonly insecure: boolean;
}

export interface ClientCertificate {
  /** PEM, the leaf first. */
  readonly cert: string;
  /** PEM, not encrypted. */
  readonly key: string;
  readonly source: string;
}

/** What a request shows of the client. */
export interface Identity {
  /** Authorization and Impersonate-*; a name can be there several times. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly certificate: ClientCertificate | undefined;
  /** Where it is from, for messages: "user admin of /root/.kube/config". */
  readonly source: string;
}

export interface Credentials {
  /** URL without a slash at its end: "https://[fd00::1]:6443", or "unix:///run/server.sock". */
  readonly server: string;
  /** Namespace of whoever does not name one. */
  readonly namespace: string;
  /** "context kind of /root/.kube/config" */
  readonly source: string;
  /** As it is now: files are read again when they changed. Throws WeftError. */
  trust(): Trust;
  /** As it is now; rejects with WeftError. Runs an exec plugin when there is one and its answer ran out. */
  identity(signal?: AbortSignal): Promise<Identity>;
  /** The server did not accept the identity: the next one must be read afresh. */
  refused(): void;
}
