{{- define "clusterd.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "clusterd.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "clusterd.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "clusterd.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "clusterd.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "clusterd.ownLabels" . }}
{{- with omit .Values.commonLabels "helm.sh/chart" "app.kubernetes.io/managed-by" "app.kubernetes.io/version" "app.kubernetes.io/name" "app.kubernetes.io/instance" }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "clusterd.ownLabels" -}}
app.kubernetes.io/name: {{ include "clusterd.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Labels that select the pods: of this chart's workload, or of yours. Empty: there are none that we know. */}}
{{- define "clusterd.selector" -}}
{{- if .Values.workload.enabled -}}
{{ include "clusterd.ownLabels" . }}
app.kubernetes.io/component: gateway
{{- else if .Values.pod.selector -}}
{{ toYaml .Values.pod.selector }}
{{- end }}
{{- end }}

{{- define "clusterd.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "clusterd.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "clusterd.imageOf" -}}
{{- $image := .image -}}
{{- if not $image.repository }}{{ fail (printf "%s.repository is required: %s" .path .hint) }}{{ end }}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ default .defaultTag $image.tag }}
{{- end }}
{{- end }}

{{- define "clusterd.image" -}}
{{- include "clusterd.imageOf" (dict "image" .Values.image "path" "image" "defaultTag" .Chart.AppVersion "hint" "build clusterd's image from its Dockerfile and push it to a registry of yours") }}
{{- end }}

{{- define "clusterd.gatewayImage" -}}
{{- include "clusterd.imageOf" (dict "image" .Values.gateway.image "path" "gateway.image" "defaultTag" "latest" "hint" "name your gateway's image, or set workload.enabled to false to use the sidecar in a chart of your own") }}
{{- end }}
