{{- define "ollama-mcp.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "ollama-mcp.selector" -}}
app.kubernetes.io/name: ollama-mcp
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end }}

{{- define "ollama-mcp.ollamaSelector" -}}
app.kubernetes.io/name: ollama-mcp
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: ollama
{{- end }}

{{- define "ollama-mcp.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "ollama-mcp.sessionSecret" -}}
{{ .Values.session.existingSecret | default (printf "%s-session" (include "ollama-mcp.name" .)) }}
{{- end }}

{{/* The configuration: that of the values, and what only the chart knows. */}}
{{- define "ollama-mcp.config" -}}
{{- $own := dict
  "listen" (list (printf "0.0.0.0:%d" 8383))
  "metrics-address" (printf "0.0.0.0:%d" 9464)
  "dashboard" "off"
  "drain-timeout" (printf "%ds" (int .Values.drainSeconds))
  "session-key-file" "/etc/ollama-mcp/session/session.key" -}}
{{- $name := include "ollama-mcp.name" . -}}
{{- $domain := printf "%s.%s" $name .Release.Namespace -}}
{{- $_ := set $own "allowed-host" (concat (list $name $domain (printf "%s.svc" $domain) (printf "%s.svc.cluster.local" $domain)) (index .Values.config "allowed-host" | default list)) -}}
{{- if .Values.auth.existingSecret -}}
{{- $_ := set $own "token-file" "/etc/ollama-mcp/keys/keys.yaml" -}}
{{- else -}}
{{- $_ := set $own "insecure" true -}}
{{- end -}}
{{- if and .Values.ollama.enabled (not (or .Values.config.hosts .Values.config.host)) -}}
{{- $_ := set $own "hosts" (list (dict "url" (printf "dns+http://%s-ollama.%s.svc:11434" (include "ollama-mcp.name" .) .Release.Namespace))) -}}
{{- end -}}
{{- if .Values.redis.url -}}
{{- $_ := set $own "redis" .Values.redis.url -}}
{{- end -}}
{{- toYaml (mergeOverwrite (deepCopy .Values.config) $own) -}}
{{- end }}
