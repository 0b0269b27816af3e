/**
 * The Helm chart, made from the same objects: they are written with marks in place of what values decide, and the marks
 * are then replaced by template expressions. `helm template` with the default values gives what `weft install` prints, but
 * for the namespace, which Helm makes itself (--create-namespace).
 */
import { DEFINITIONS } from "@weft/cluster/definitions";
import { manifestText, objectText } from "../manifest.ts";
import { agentObject } from "../objects/agent.ts";
import { controllerObject } from "../objects/controller.ts";
import { rbac } from "../objects/rbac.ts";
import { settingsObject } from "../objects/settings.ts";
import { defaultOptions, type InstallOptions } from "../options.ts";

const REPLICAS = 987_654;
const PORT = 54_321;

/** Each mark is a value that YAML writes without quotes, except the port, which stands in an environment variable. */
const MARKS: readonly (readonly [RegExp, string])[] = [
  [/helm-namespace/g, "{{ .Release.Namespace }}"],
  [/helm-image/g, "{{ .Values.image | quote }}"],
  [/imagePullPolicy: Never/g, "imagePullPolicy: {{ .Values.imagePullPolicy }}"],
  [/\/helm-bin/g, "{{ .Values.cni.binDir | quote }}"],
  [/\/helm-conf/g, "{{ .Values.cni.confDir | quote }}"],
  [new RegExp(`\\b${REPLICAS}\\b`, "g"), "{{ .Values.controller.replicas }}"],
  [
    /^( *)- name: KUBERNETES_SERVICE_HOST\n.*\n.*\n.*\n/gm,
    [
      "{{- if .Values.apiServer.host }}",
      "$1- name: KUBERNETES_SERVICE_HOST",
      "$1  value: {{ .Values.apiServer.host | quote }}",
      "$1- name: KUBERNETES_SERVICE_PORT",
      "$1  value: {{ .Values.apiServer.port | quote }}",
      "{{- end }}",
      "",
    ].join("\n"),
  ],
  [/^( *)helm-settings: true$/gm, "{{ toYaml .Values.settings | indent 4 }}"],
];

const marked = (version: string): InstallOptions => ({
  ...defaultOptions(version),
  namespace: "helm-namespace",
  image: "helm-image",
  imagePullPolicy: "Never",
  apiServer: { host: "helm-host", port: PORT },
  settings: { "helm-settings": true },
  cniBinDir: "/helm-bin",
  cniConfDir: "/helm-conf",
  controllerReplicas: REPLICAS,
});

/** Path below the chart's directory to text. */
export function chartFiles(version: string): Record<string, string> {
  const options = marked(version);
  const template = (...objects: Parameters<typeof objectText>[0][]): string =>
    MARKS.reduce(
      (text, [mark, expression]) => text.replace(mark, expression),
      objects.map((object) => `---\n${objectText(object)}`).join(""),
    );
  return {
    "Chart.yaml": chartText(version),
    "values.yaml": valuesText(version),
    // Helm makes these before anything else, and never removes them: pools outlive the chart.
    "crds/definitions.yaml": manifestText(DEFINITIONS.map((definition) => ({ ...definition }))),
    "templates/rbac.yaml": template(...rbac(options)),
    "templates/settings.yaml": template(settingsObject(options)),
    "templates/controller.yaml": template(controllerObject(options)),
    "templates/agent.yaml": template(agentObject(options)),
  };
}

const chartText = (version: string): string => `apiVersion: v2
name: weft
description: A whole Kubernetes network
type: application
version: ${version}
appVersion: "${version}"
kubeVersion: ">=1.22.0-0"
`;

function valuesText(version: string): string {
  const { image, imagePullPolicy, cniBinDir, cniConfDir, controllerReplicas } = defaultOptions(version);
  return `# Weft has no registry: push the image that \`./weft image\` makes to yours, and name it here.
image: ${image}
imagePullPolicy: ${imagePullPolicy}

# Address of the API server that every node reaches without services. Without a host, the service "kubernetes" is
# used, which works only where kube-proxy or its like is up before the network.
apiServer:
  host: ""
  port: 6443

# What agents find at /etc/weft/settings.yaml; they follow changes. docs/install.md lists all fields.
settings:
  backend: auto

# The container runtime's directories on the nodes.
cni:
  binDir: ${cniBinDir}
  confDir: ${cniConfDir}

controller:
  replicas: ${controllerReplicas}
`;
}
