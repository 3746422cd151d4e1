{{- define "clusterd.pod" -}}
metadata:
  labels:
    {{- include "clusterd.labels" . | nindent 4 }}
    app.kubernetes.io/component: gateway
    {{- with omit .Values.pod.labels "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: {{ .Values.gateway.name }}
    {{- with omit .Values.pod.annotations "kubectl.kubernetes.io/default-container" }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "clusterd.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "clusterd.terminationGracePeriodSeconds" . }}
  securityContext:
    runAsNonRoot: true
    runAsUser: {{ .Values.pod.runAsUser }}
    runAsGroup: {{ .Values.pod.runAsGroup }}
    fsGroup: {{ .Values.pod.fsGroup }}
    seccompProfile:
      type: RuntimeDefault
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  initContainers:
    {{- include "clusterd.sidecar" . | nindent 4 }}
    {{- with .Values.pod.initContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  containers:
    {{- include "clusterd.gateway" . | nindent 4 }}
  volumes:
    {{- include "clusterd.volumes" . | nindent 4 }}
    {{- with .Values.pod.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if .Values.topologySpread.enabled }}
  topologySpreadConstraints:
    {{- include "clusterd.spread" . | nindent 4 }}
  {{- end }}
  {{- with .Values.pod.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.pod.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.pod.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.pod.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
{{- end }}

{{- define "clusterd.gateway" -}}
{{- $gateway := .Values.gateway -}}
- name: {{ $gateway.name }}
  image: {{ include "clusterd.gatewayImage" . | quote }}
  imagePullPolicy: {{ $gateway.image.pullPolicy }}
  {{- range $field := list "command" "args" "envFrom" "resources" "readinessProbe" }}
  {{- with get $gateway $field }}
  {{ $field }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- range $field := list "startupProbe" "livenessProbe" }}
  {{- with get $gateway $field }}
  {{ $field }}:
    {{- toYaml (merge (dict) . (dict "terminationGracePeriodSeconds" $gateway.livenessGraceSeconds)) | nindent 4 }}
  {{- end }}
  {{- end }}
  env:
    - name: CLUSTERD_URL
      value: http://127.0.0.1:{{ .Values.sidecar.controlPort }}
    {{- with $gateway.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - name: gateway
      containerPort: {{ $gateway.port }}
      protocol: TCP
    {{- with $gateway.extraPorts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with include "clusterd.gatewayLifecycle" . | fromYaml }}
  lifecycle:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml $gateway.securityContext | nindent 4 }}
  volumeMounts:
    {{- include "clusterd.gatewayVolumeMounts" . | nindent 4 }}
    {{- with $gateway.volumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{- define "clusterd.spread" -}}
{{- $selector := include "clusterd.selector" . -}}
{{- $spread := .Values.topologySpread -}}
{{- range $spread.topologyKeys }}
- maxSkew: {{ $spread.maxSkew }}
  topologyKey: {{ . }}
  whenUnsatisfiable: {{ $spread.whenUnsatisfiable }}
  labelSelector:
    matchLabels:
      {{- $selector | nindent 6 }}
{{- end }}
{{- end }}
