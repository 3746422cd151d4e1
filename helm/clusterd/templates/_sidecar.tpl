{{/*
For a chart of your own that has this one as a dependency (and workload.enabled: false among its values):

  initContainers:   {{ include "clusterd.sidecar" . }}          first of the list: later ones start when it has
  containers[].lifecycle: {{ include "clusterd.gatewayLifecycle" . }}
  containers[].volumeMounts: {{ include "clusterd.gatewayVolumeMounts" . }}
  volumes:          {{ include "clusterd.volumes" . }}
  terminationGracePeriodSeconds: {{ include "clusterd.terminationGracePeriodSeconds" . }}

Called with the scope of the other chart they find their values under the dependency's name, `clusterd`. Where it has
an alias, call them with `.Subcharts.<alias>`.
*/}}
{{- define "clusterd.sidecar" -}}
{{- with get .Subcharts "clusterd" | default . -}}
{{- include "clusterd.check" . -}}
- name: {{ .Values.sidecar.name }}
  image: {{ include "clusterd.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  restartPolicy: Always
  args: [run]
  env:
    {{- include "clusterd.env" . | nindent 4 }}
  ports:
    - name: probes
      containerPort: {{ .Values.sidecar.probesPort }}
      protocol: TCP
  startupProbe:
    httpGet:
      path: /startupz
      port: probes
    periodSeconds: 1
    timeoutSeconds: 2
    failureThreshold: {{ add (int .Values.sidecar.startTimeout) (int .Values.node.ttl) 10 }}
  readinessProbe:
    httpGet:
      path: /readyz
      port: probes
    {{- toYaml .Values.sidecar.readinessProbe | nindent 4 }}
  livenessProbe:
    httpGet:
      path: /livez
      port: probes
    {{- toYaml .Values.sidecar.livenessProbe | nindent 4 }}
    terminationGracePeriodSeconds: {{ .Values.sidecar.stopSeconds }}
  lifecycle:
    preStop:
      exec:
        command: {{ include "clusterd.prestop" . | fromYamlArray | toJson }}
  resources:
    {{- toYaml .Values.sidecar.resources | nindent 4 }}
  securityContext:
    {{- include "clusterd.securityContext" . | nindent 4 }}
  volumeMounts:
    {{- include "clusterd.sidecarVolumeMounts" . | nindent 4 }}
{{- end }}
{{- end }}

{{/* What it forces, it forces two seconds before its time is up. */}}
{{- define "clusterd.prestop" -}}
{{- $drain := .Values.drain -}}
- clusterd
- prestop
- --control=127.0.0.1:{{ .Values.sidecar.controlPort }}
- --timeout={{ add (int $drain.deadline) 2 }}
- --settle={{ int $drain.settle }}
{{- if not (kindIs "invalid" $drain.rate) }}
- --rate={{ $drain.rate }}
{{- end }}
{{- if not (kindIs "invalid" $drain.over) }}
- --over={{ int $drain.over }}
{{- end }}
- --marker={{ include "clusterd.marker" . }}
{{- end }}

{{- define "clusterd.marker" -}}
/run/clusterd/drained
{{- end }}

{{/* What the daemon is told, as its environment. An empty variable is as good as none. */}}
{{- define "clusterd.env" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
{{- $ip := ternary "[$(POD_IP)]" "$(POD_IP)" (contains ":" .Values.sidecar.listen) -}}
{{- $gateway := printf "%s:%d" $ip (int .Values.gateway.port) -}}
{{- $settings := dict
  "NODE" .Values.node.id
  "ADDRESS" (default $gateway .Values.node.address)
  "STARTING_UNTIL" (ternary $gateway "" .Values.node.waitForGateway)
  "TTL" (int .Values.node.ttl | toString)
  "WEIGHT" (int .Values.node.weight | toString)
  "LABEL" (include "clusterd.nodeLabels" .)
  "ENDPOINT" (include "clusterd.pairs" .Values.node.endpoints)
  "CONTROL" (printf "127.0.0.1:%d" (int .Values.sidecar.controlPort))
  "PROBES" (printf "%s:%d" (include "clusterd.host" .Values.sidecar.listen) (int .Values.sidecar.probesPort))
  "START_TIMEOUT" (int .Values.sidecar.startTimeout | toString)
  "DRAIN_TIMEOUT" (max 1 (sub (int .Values.sidecar.stopSeconds) 2) | toString)
  "MARKER" (include "clusterd.marker" .)
  "DRAIN_HOOK" .Values.drain.hook
  "SESSIONS_HOOK" .Values.drain.sessionsHook
  "LOG_FORMAT" .Values.sidecar.logFormat
  "LOG_LEVEL" .Values.sidecar.logLevel
}}
{{- range $name, $value := $settings }}
{{- if $value }}
- name: CLUSTERD_{{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- if .Values.node.zone.value }}
- name: CLUSTERD_ZONE
  value: {{ .Values.node.zone.value | quote }}
{{- else if .Values.node.zone.fieldPath }}
- name: CLUSTERD_ZONE
  valueFrom: {fieldRef: {fieldPath: {{ .Values.node.zone.fieldPath | quote }}}}
{{- end }}
{{- include "clusterd.etcdEnv" (dict "root" . "for" "CLUSTERD" "endpoints" "ETCD") }}
{{- with .Values.sidecar.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* How to reach etcd, for clusterd (CLUSTERD_ETCD) and for clusterctl (CLUSTERCTL_ENDPOINTS). */}}
{{- define "clusterd.etcdEnv" -}}
{{- $etcd := .root.Values.etcd -}}
{{- $settings := dict .endpoints (join "," $etcd.endpoints) "PREFIX" $etcd.prefix "USER" $etcd.auth.username -}}
{{- if $etcd.auth.existingSecret }}
{{- $_ := set $settings "PASSWORD_FILE" (printf "/etc/clusterd/auth/%s" $etcd.auth.passwordKey) }}
{{- end }}
{{- if $etcd.tls.existingSecret }}
{{- range $name, $key := dict "CACERT" $etcd.tls.caKey "CERT" $etcd.tls.certKey "KEY" $etcd.tls.keyKey }}
{{- if $key }}
{{- $_ := set $settings $name (printf "/etc/clusterd/tls/%s" $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- $for := .for }}
{{- range $name, $value := $settings }}
{{- if $value }}
- name: {{ $for }}_{{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "clusterd.nodeLabels" -}}
{{- include "clusterd.pairs" (merge (dict) .Values.node.labels (dict "release" (include "clusterd.fullname" .) "host" "$(NODE_NAME)")) -}}
{{- end }}

{{- define "clusterd.pairs" -}}
{{- $pairs := list -}}
{{- range $name, $value := . }}{{ $pairs = append $pairs (printf "%s=%s" $name $value) }}{{ end -}}
{{- join "," $pairs -}}
{{- end }}

{{- define "clusterd.host" -}}
{{- if contains ":" . }}[{{ . | trimPrefix "[" | trimSuffix "]" }}]{{ else }}{{ . }}{{ end -}}
{{- end }}

{{- define "clusterd.securityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: {{ .Values.pod.runAsUser }}
runAsGroup: {{ .Values.pod.runAsGroup }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "clusterd.sidecarVolumeMounts" -}}
- name: clusterd-run
  mountPath: /run/clusterd
{{- include "clusterd.secretMounts" . }}
{{- end }}

{{- define "clusterd.secretMounts" -}}
{{- if .Values.etcd.auth.existingSecret }}
- name: clusterd-auth
  mountPath: /etc/clusterd/auth
  readOnly: true
{{- end }}
{{- if .Values.etcd.tls.existingSecret }}
- name: clusterd-tls
  mountPath: /etc/clusterd/tls
  readOnly: true
{{- end }}
{{- end }}

{{/* The marker's directory, in memory; and of the secrets only what is used, mounted into the sidecar alone. */}}
{{- define "clusterd.volumes" -}}
{{- with get .Subcharts "clusterd" | default . -}}
- name: clusterd-run
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- include "clusterd.secretVolumes" . }}
{{- end }}
{{- end }}

{{- define "clusterd.secretVolumes" -}}
{{- with .Values.etcd.auth }}
{{- if .existingSecret }}
- name: clusterd-auth
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0444
    items:
      - {key: {{ .passwordKey | quote }}, path: {{ .passwordKey | quote }}}
{{- end }}
{{- end }}
{{- with .Values.etcd.tls }}
{{- if .existingSecret }}
- name: clusterd-tls
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0444
    items:
      {{- range compact (list .caKey .certKey .keyKey) }}
      - {key: {{ . | quote }}, path: {{ . | quote }}}
      {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "clusterd.gatewayVolumeMounts" -}}
- name: clusterd-run
  mountPath: /run/clusterd
  readOnly: true
{{- end }}

{{/* The gateway's hook runs beside the sidecar's: it only waits, so that SIGTERM comes when its sessions have gone. */}}
{{- define "clusterd.gatewayLifecycle" -}}
{{- with get .Subcharts "clusterd" | default . -}}
{{- $seconds := include "clusterd.waitSeconds" . -}}
{{- $preStop := .Values.gateway.preStop -}}
{{- if and $preStop.command (ne $preStop.mode "command") }}
{{- fail (printf "gateway.preStop.command is given, but gateway.preStop.mode is %s: set it to command" $preStop.mode) }}
{{- end -}}
{{- if and (eq $preStop.mode "command") (not $preStop.command) }}
{{- fail "gateway.preStop.mode is command: give gateway.preStop.command" }}
{{- end -}}
{{- if eq $preStop.mode "shell" -}}
preStop:
  exec:
    command:
      - /bin/sh
      - -c
      - 'i=0; until [ -e "$0" ] || [ "$i" -ge "$1" ]; do i=$((i+1)); sleep 1; done'
      - {{ include "clusterd.marker" . }}
      - {{ $seconds | quote }}
{{- else if eq $preStop.mode "sleep" -}}
preStop:
  sleep:
    seconds: {{ $seconds }}
{{- else if eq $preStop.mode "command" -}}
preStop:
  exec:
    command: {{ toJson $preStop.command }}
{{- else -}}
{}
{{- end -}}
{{- end }}
{{- end }}
