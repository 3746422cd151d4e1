{{/* What the schema can't say: values that contradict each other. Each message names the value and what to do. */}}
{{- define "clusterd.check" -}}
{{- include "clusterd.checkTiming" . -}}
{{- include "clusterd.checkEtcd" . -}}
{{- include "clusterd.checkPorts" . -}}
{{- end }}

{{- define "clusterd.checkEtcd" -}}
{{- $etcd := .Values.etcd -}}
{{- if not $etcd.endpoints -}}
{{- fail "etcd.endpoints is required: give etcd's client URLs, such as [https://etcd-0.etcd:2379]" -}}
{{- end -}}
{{- $https := false -}}
{{- range $etcd.endpoints }}{{ if hasPrefix "https://" . }}{{ $https = true }}{{ end }}{{ end -}}
{{- if and $etcd.tls.existingSecret (not $https) -}}
{{- fail "etcd.tls.existingSecret is given, but no endpoint is https: nothing would be encrypted" -}}
{{- end -}}
{{- if and $etcd.tls.existingSecret (not (or $etcd.tls.caKey $etcd.tls.certKey)) -}}
{{- fail "etcd.tls.existingSecret is given without etcd.tls.caKey or etcd.tls.certKey: say which of its keys to use" -}}
{{- end -}}
{{- if ne (empty $etcd.tls.certKey) (empty $etcd.tls.keyKey) -}}
{{- fail "etcd.tls.certKey and etcd.tls.keyKey belong together: give both or none" -}}
{{- end -}}
{{- if and $etcd.tls.certKey (not $etcd.tls.existingSecret) -}}
{{- fail "etcd.tls.certKey names a key of etcd.tls.existingSecret: give that too" -}}
{{- end -}}
{{- if ne (empty $etcd.auth.username) (empty $etcd.auth.existingSecret) -}}
{{- fail "etcd.auth.username and etcd.auth.existingSecret belong together: give both or none" -}}
{{- end -}}
{{- end }}

{{- define "clusterd.checkPorts" -}}
{{- $seen := dict -}}
{{- $ports := list
  (dict "name" "gateway.port" "port" .Values.gateway.port)
  (dict "name" "sidecar.controlPort" "port" .Values.sidecar.controlPort)
  (dict "name" "sidecar.probesPort" "port" .Values.sidecar.probesPort) -}}
{{- range .Values.gateway.extraPorts }}
{{- $ports = append $ports (dict "name" (printf "gateway.extraPorts %s" .name) "port" .containerPort) }}
{{- end -}}
{{- range $ports }}
{{- $port := int .port | toString }}
{{- if hasKey $seen $port }}
{{- fail (printf "%s and %s are both %s: the containers of a pod share its ports" (get $seen $port) .name $port) }}
{{- end }}
{{- $_ := set $seen $port .name }}
{{- end -}}
{{- end }}

{{- define "clusterd.checkDisruption" -}}
{{- $pdb := .Values.podDisruptionBudget -}}
{{- if eq (kindIs "invalid" $pdb.maxUnavailable) (kindIs "invalid" $pdb.minAvailable) -}}
{{- fail "podDisruptionBudget takes one of maxUnavailable and minAvailable: set the other to null" -}}
{{- end -}}
{{- if or (eq (toString $pdb.maxUnavailable) "0") (eq (toString $pdb.maxUnavailable) "0%") (eq (toString $pdb.minAvailable) "100%") -}}
{{- fail "podDisruptionBudget lets no pod go: no Kubernetes node could ever be drained" -}}
{{- end -}}
{{- $replicas := .Values.workload.replicas -}}
{{- if and .Values.workload.enabled (not (kindIs "invalid" $pdb.minAvailable)) (not (kindIs "string" $pdb.minAvailable)) (not (kindIs "invalid" $replicas)) -}}
{{- if ge (int $pdb.minAvailable) (int $replicas) -}}
{{- fail (printf "podDisruptionBudget.minAvailable %d of workload.replicas %d lets no pod go: no Kubernetes node could ever be drained" (int $pdb.minAvailable) (int $replicas)) -}}
{{- end -}}
{{- end -}}
{{- end }}
