{{/*
How the end of a pod is spent, in seconds. README.md, "How a pod ends", says why.

  drain.deadline          from the start of the drain on: settling and moving; then what is left is forced
  + 5   hookSeconds       `clusterd prestop` at the most: two seconds for the forced ones, the rest for its own start
  + 3   waitSeconds       how long the gateway's hook waits for the marker
  + gateway.stopSeconds   the gateway, from its SIGTERM
  + sidecar.stopSeconds   the sidecar, from its SIGTERM, which comes when the gateway has ended
*/}}
{{- define "clusterd.hookSeconds" -}}
{{- include "clusterd.checkTiming" . -}}
{{- add (int .Values.drain.deadline) 5 -}}
{{- end }}

{{- define "clusterd.waitSeconds" -}}
{{- add (include "clusterd.hookSeconds" . | int) 3 -}}
{{- end }}

{{/* For a pod of your own: `terminationGracePeriodSeconds: {{ include "clusterd.terminationGracePeriodSeconds" . }}` */}}
{{- define "clusterd.terminationGracePeriodSeconds" -}}
{{- with get .Subcharts "clusterd" | default . -}}
{{- $least := add (include "clusterd.waitSeconds" . | int) (int .Values.gateway.stopSeconds) (int .Values.sidecar.stopSeconds) | int -}}
{{- $given := .Values.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $given -}}
{{- $least -}}
{{- else if lt (int $given) $least -}}
{{- fail (printf "terminationGracePeriodSeconds %d is too short: drain.deadline %d, gateway.stopSeconds %d and sidecar.stopSeconds %d need %d; leave it out to have it computed" (int $given) (int .Values.drain.deadline) (int .Values.gateway.stopSeconds) (int .Values.sidecar.stopSeconds) $least) -}}
{{- else -}}
{{- int $given -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* The node settles before the first session moves, and looks as long for sessions that came late. */}}
{{- define "clusterd.checkTiming" -}}
{{- $drain := .Values.drain -}}
{{- $left := sub (int $drain.deadline) (mul 2 (int $drain.settle)) -}}
{{- if lt $left 1 -}}
{{- fail (printf "drain.deadline %d leaves no time to move sessions: drain.settle %d is spent twice, before the first and after the last; give a deadline above %d" (int $drain.deadline) (int $drain.settle) (mul 2 (int $drain.settle))) -}}
{{- end -}}
{{- if and (not (kindIs "invalid" $drain.rate)) (not (kindIs "invalid" $drain.over)) -}}
{{- fail "drain.rate and drain.over say two things about one pace: give one of them" -}}
{{- end -}}
{{- if and (not (kindIs "invalid" $drain.over)) (gt (int $drain.over) (int $left)) -}}
{{- fail (printf "drain.over %d does not fit into drain.deadline %d less twice drain.settle %d: at most %d" (int $drain.over) (int $drain.deadline) (int $drain.settle) $left) -}}
{{- end -}}
{{- end }}
